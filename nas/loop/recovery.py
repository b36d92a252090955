"""A killed process loses the work since its last checkpoint, no more: which trials are dead, and
what becomes of them.

A running trial of this folder and machine is dead when its lock is free (nas/loop/claim.py), any
other when Optuna's heartbeat is stale. Its parameters are queued again before it is failed:
whenever this in turn is killed, nothing is lost or queued twice. The retry resumes from the
checkpoints, which lie in the folder under the network's digest.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas.loop.claim import checkpoints_folder, folder_id, is_locked, machine_id, trial_directory
from nas.study.internals import storage_of, study_id, trial_id
from space import DesignSpace, Genome

# A network with which the process died so often (a driver's crash, too little memory) is given up.
MAX_DEATHS = 3
# Attributes of an interrupted trial that its retry takes over.
_OF_A_RETRY = ("baseline", "genome", "sampler", "queued", "timed")


def runs_here(trial: FrozenTrial, folder: Path, owns_storage: bool) -> bool:
    """Whether the lock tells if a running trial is alive."""
    attrs = trial.user_attrs
    if "folder" not in attrs:
        return owns_storage
    here = machine_id()
    return bool(attrs["folder"] == folder_id(folder) and attrs.get("machine", here) == here)


def recover(
    study: optuna.Study,
    folder: Path,
    space: DesignSpace,
    *,
    owns_storage: bool,
    put_back: int | None = None,
) -> list[int]:
    """Fails dead trials (kind "interrupted") and queues them again; their numbers.

    To be called inside `study_lock`, in which a trial is created and claimed: one that runs
    unclaimed is dead. `owns_storage` says that no other folder's processes use this storage;
    `put_back` is the trial of a process that was stopped, which is not the network's fault; nor
    is it where the lock file says that its living process has let go of it.
    """
    trials = study.get_trials(deepcopy=False)
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    stale = _stale_ids(study) if running else set()
    silent = [trial for trial in running if not _lives(trial, folder, owns_storage, stale)]
    # Read again last: a trial that ended before the check of its lock is finished, not dead.
    dead = [trial for trial in silent if _still_runs(study, trial)]
    queued, failed = {trial.user_attrs.get("retry_of") for trial in trials}, []
    for trial in dead:
        reached, let_go = _last_sign(trial, folder)
        died = trial.number != put_back and not let_go
        attempts = int(trial.user_attrs.get("attempts", 0)) + died
        message = "its process was killed" if died else "stopped by the user"
        params = _params(trial, space)
        if attempts >= MAX_DEATHS:
            message = f"given up: the process died {attempts} times with this network"
            digest = str(trial.user_attrs.get("digest"))
            shutil.rmtree(checkpoints_folder(folder, digest), ignore_errors=True)
        elif params is not None and trial.number not in queued:
            attrs = {key: value for key, value in trial.user_attrs.items() if key in _OF_A_RETRY}
            if reached is not None:
                attrs["reached"] = reached
            attrs |= {"retry_of": trial.number, "attempts": attempts}
            study.enqueue_trial(params, user_attrs=attrs)
        if not _fail(study, trial, message):
            continue
        failed.append(trial.number)
        if runs_here(trial, folder, owns_storage):  # nothing in its folder was finished
            shutil.rmtree(trial_directory(folder, trial.number), ignore_errors=True)
    return failed


def runs_now(study: optuna.Study, folder: Path, *, owns_storage: bool) -> bool:
    """Whether a living process runs a trial of `study`; the rest as in `recover`."""
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    stale = _stale_ids(study) if running else set()
    return any(_lives(trial, folder, owns_storage, stale) for trial in running)


def _still_runs(study: optuna.Study, trial: FrozenTrial) -> bool:
    return storage_of(study).get_trial(trial_id(trial)).state == TrialState.RUNNING


def _stale_ids(study: optuna.Study) -> set[int]:
    """Ids of the running trials whose last heartbeat is too old; none without heartbeats."""
    storage = storage_of(study)
    if getattr(storage, "get_heartbeat_interval", lambda: None)() is None:
        return set()
    return set(storage._get_stale_trial_ids(study_id(study)))  # type: ignore[attr-defined]


def _lives(trial: FrozenTrial, folder: Path, owns_storage: bool, stale: set[int]) -> bool:
    if runs_here(trial, folder, owns_storage):
        return is_locked(trial_directory(folder, trial.number) / "lock")
    # Created and not claimed, which is one act inside `study_lock`: its process died in between.
    return "folder" in trial.user_attrs and trial_id(trial) not in stale


def _last_sign(trial: FrozenTrial, folder: Path) -> tuple[dict[str, Any] | None, bool]:
    """How far its training was at its last sign of life, None where none is here; and whether its
    process let go of it, alive.
    """
    with contextlib.suppress(OSError, ValueError):
        sign = json.loads((trial_directory(folder, trial.number) / "lock").read_bytes())
        return {"step": sign["step"], "seconds": sign["seconds"]}, bool(sign["let_go"])
    return None, False


def _params(trial: FrozenTrial, space: DesignSpace) -> dict[str, int | str] | None:
    """The trial's parameters; None where it was killed before it had a network."""
    if set(trial.params) == {gene.name for gene in space.genes}:
        return dict(trial.params)
    genome, fixed = trial.user_attrs.get("genome"), trial.system_attrs.get("fixed_params")
    if genome is not None:
        return space.encode(Genome.from_json(genome))
    return dict(fixed) if fixed else None


def _fail(study: optuna.Study, trial: FrozenTrial, message: str) -> bool:
    """Fails the trial; False where it has just ended otherwise."""
    # Not by an optuna.Trial, for which the sampler would propose parameters once more.
    try:
        for key, value in {"kind": "interrupted", "message": message}.items():
            storage_of(study).set_trial_user_attr(trial_id(trial), key, value)
    except UpdateFinishedTrialError:
        return False  # it was alive, and has just finished: its retry will be a repeat
    ended = study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    return ended.state == TrialState.FAIL


def sweep(study: optuna.Study, folder: Path) -> None:
    """Removes what killed processes left in `folder`, inside `study_lock`: locks of ended trials,
    folders of interrupted ones, and checkpoints of networks that nobody trains or will train.
    """
    trials = study.get_trials(deepcopy=False)
    needed = {_digest(trial) for trial in trials if not trial.state.is_finished()}
    for checkpoints in (folder / "checkpoints").glob("*"):
        if checkpoints.name not in needed:
            shutil.rmtree(checkpoints, ignore_errors=True)
    here = folder_id(folder)
    for lock in (folder / "trials").glob("*/lock"):
        number = int(lock.parent.name) if lock.parent.name.isdecimal() else len(trials)
        if number >= len(trials) or not trials[number].state.is_finished():
            continue
        attrs = trials[number].user_attrs
        # A trial that was killed before it could say so names no folder; its lock lies here.
        if attrs.get("folder", here) != here:
            continue
        if attrs.get("kind") == "interrupted":
            shutil.rmtree(lock.parent, ignore_errors=True)
        elif not is_locked(lock):
            lock.unlink(missing_ok=True)


def _digest(trial: FrozenTrial) -> str | None:
    genome = trial.user_attrs.get("genome")
    return trial.user_attrs.get("digest") or (Genome.from_json(genome).digest if genome else None)
