"""A killed process loses the work since its last checkpoint, no more: whose process is gone, and
what to do about its trial.

Every running trial holds a lock (flock) on `trials/<number>/lock` in the study's folder. The
kernel frees it the moment its process ends, however it ends, so a RUNNING trial whose lock can be
taken is known dead at once, without waiting for a heartbeat to go stale and with any number of
processes at work. A trial that runs on another machine, or in another study folder, can't be
judged by a lock: it counts as dead when Optuna's heartbeat is stale.

A dead trial's parameters are queued again before it is told as failed: whenever this in turn is
killed, nothing is lost or queued twice. Whoever takes it goes on from its checkpoints, which lie
in the folder under the network's digest.

    folder     which study folder the trial runs in;  machine  and on which machine reached
    {"step", "seconds"} of training at its last sign of life before it was interrupted retry_of
    number of the interrupted trial whose parameters this one repeats attempts   how often a
    process has died with this network resumed    {"from_step", "lost_steps", "lost_s"}: where a
    retry went on, and what training was lost by the interruption
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas.loop.heartbeat import Heartbeat
from space import DesignSpace, Genome

# A network with which the process died this often (a crash in a driver, the out-of-memory killer)
# is given up.
MAX_DEATHS = 3


class TakenOverError(Exception):
    """The trial is no longer this process's: it was taken for dead (cut off for too long), and
    runs elsewhere.
    """


def checkpoints_folder(folder: Path, digest: str) -> Path:
    """Where a running trial of the network `digest` keeps its checkpoints."""
    return folder / "checkpoints" / digest


def trial_directory(folder: Path, number: int) -> Path:
    """Where trial `number` keeps its files."""
    return folder / "trials" / f"{number:04d}"


class Claim:
    """The lock and heartbeat of one running trial; as a context they are given back, and the lock
    removed, at the end.
    """

    def __init__(self, folder: Path, trial: optuna.Trial) -> None:
        self.directory = trial_directory(folder, trial.number)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._heartbeat = Heartbeat(trial)
            trial.set_user_attr("machine", machine_id())
            trial.set_user_attr("folder", folder_id(folder))
        except BaseException:
            os.close(
                self._descriptor
            )  # else the trial would count as alive for as long as this process is
            raise

    def show_life(self, step: int, seconds: float) -> None:
        """Called with every progress of a training. Raises TakenOverError where the trial runs
        elsewhere by now.
        """
        if self._heartbeat.is_lost:
            raise TakenOverError
        # In place, and padded: who reads it sees the old or the new.
        os.pwrite(
            self._descriptor, json.dumps({"step": step, "seconds": seconds}).ljust(80).encode(), 0
        )

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._heartbeat.end()
            if kind is None:  # told: nobody will look at the lock again
                (self.directory / "lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.directory.rmdir()  # only where the trial left nothing
        finally:
            os.close(self._descriptor)


def folder_id(folder: Path) -> str:
    """What tells this study folder from every other, wherever it is mounted."""
    path = folder / "folder_id"
    with contextlib.suppress(FileNotFoundError):
        return path.read_text().strip()
    fresh = path.with_suffix(".new")
    fresh.write_text(uuid.uuid4().hex)
    fresh.replace(path)
    return path.read_text().strip()


def machine_id() -> str:
    """What tells this machine (or container) from every other, through reboots where the system
    has an id.
    """
    with contextlib.suppress(OSError):
        return f"{Path('/etc/machine-id').read_text().strip()}-{socket.gethostname()}"
    return socket.gethostname()


def runs_here(trial: FrozenTrial, folder: Path, owns_storage: bool) -> bool:
    """Whether a running trial can be judged by its lock."""
    attrs = trial.user_attrs
    if "folder" not in attrs:
        return owns_storage
    return bool(
        attrs["folder"] == folder_id(folder) and attrs.get("machine", machine_id()) == machine_id()
    )


def recover(
    study: optuna.Study,
    folder: Path,
    space: DesignSpace,
    *,
    owns_storage: bool,
    put_back: int | None = None,
) -> list[int]:
    """The numbers of the trials that were found dead, and told as failed (kind "interrupted") and
    queued again.

    To be called inside `study_lock.asking`, in which a trial is asked for and claimed: one that runs
    unclaimed is dead. `owns_storage` says that no other folder's processes use this storage;
    `put_back` is the trial of a process that was asked to stop, which is not the network's fault.
    """
    trials = study.get_trials(deepcopy=False)
    running = [t for t in trials if t.state == TrialState.RUNNING]
    stale = stale_ids(study) if running else set()
    # Asked again afterwards: a trial that ended between the reading and the look at its lock is
    # finished, not dead.
    dead = [
        t for t in running if not _lives(t, folder, owns_storage, stale) and _still_runs(study, t)
    ]
    queued, told = {t.user_attrs.get("retry_of") for t in trials}, []
    for trial in dead:
        died = trial.number != put_back
        attempts = int(trial.user_attrs.get("attempts", 0)) + died
        message = "its process was killed" if died else "stopped by the user"
        params = _params(trial, space)
        if attempts >= MAX_DEATHS:
            message = f"given up: the process died {attempts} times with this network"
            shutil.rmtree(
                checkpoints_folder(folder, str(trial.user_attrs.get("digest"))), ignore_errors=True
            )
        elif params is not None and trial.number not in queued:
            kept: dict[str, Any] = {
                key: trial.user_attrs[key]
                for key in ("baseline", "genome", "sampler", "queued", "timed")
                if key in trial.user_attrs
            }
            if (reached := _reached(trial, folder)) is not None:
                kept["reached"] = reached
            study.enqueue_trial(
                params, user_attrs={**kept, "retry_of": trial.number, "attempts": attempts}
            )
        if not _fail(study, trial, message):
            continue
        told.append(trial.number)
        if runs_here(trial, folder, owns_storage):
            shutil.rmtree(
                trial_directory(folder, trial.number), ignore_errors=True
            )  # nothing in it was finished
    return told


def runs_now(study: optuna.Study, folder: Path, *, owns_storage: bool) -> bool:
    """Whether a living process runs a trial of `study`. To be called inside `study_lock.asking`; the
    rest as in `recover`.
    """
    running = study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
    stale = stale_ids(study) if running else set()
    return any(_lives(trial, folder, owns_storage, stale) for trial in running)


def _still_runs(study: optuna.Study, trial: FrozenTrial) -> bool:
    return study._storage.get_trial(trial._trial_id).state == TrialState.RUNNING


def stale_ids(study: optuna.Study) -> set[int]:
    """Ids of the running trials whose heartbeat is older than the storage's grace; none in a
    storage without heartbeats.
    """
    storage = study._storage
    get, interval = (
        getattr(storage, "_get_stale_trial_ids", None),
        getattr(storage, "get_heartbeat_interval", lambda: None)(),
    )
    return set(get(study._study_id)) if get is not None and interval is not None else set()


def _lives(trial: FrozenTrial, folder: Path, owns_storage: bool, stale: set[int]) -> bool:
    if runs_here(trial, folder, owns_storage):
        return _is_locked(trial_directory(folder, trial.number) / "lock")
    if "folder" not in trial.user_attrs:
        # asked for and not claimed, which is one act inside `study_lock`: its process died in the
        # middle
        return False
    return trial._trial_id not in stale


def _reached(trial: FrozenTrial, folder: Path) -> dict[str, Any] | None:
    """How far its training was when it last showed life; None where it never did, or elsewhere."""
    try:
        told: dict[str, Any] = json.loads(
            (trial_directory(folder, trial.number) / "lock").read_bytes()
        )
    except (OSError, ValueError):
        return None
    return told


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _params(trial: FrozenTrial, space: DesignSpace) -> dict[str, int | str] | None:
    """The trial's parameters; None where it was killed before it had them all (then there is no
    network to retry).
    """
    if set(trial.params) == {gene.name for gene in space.genes}:
        return dict(trial.params)
    genome, fixed = trial.user_attrs.get("genome"), trial.system_attrs.get("fixed_params")
    if genome is not None:
        return space.encode(Genome.from_json(genome))
    return dict(fixed) if fixed else None


def _fail(study: optuna.Study, trial: FrozenTrial, message: str) -> bool:
    """Tells the trial as failed; False where it has just ended otherwise."""
    # Optuna has no public way to write an attribute of another process's trial; making an
    # optuna.Trial for it would let the sampler propose parameters once more.
    try:
        for key, value in {"kind": "interrupted", "message": message}.items():
            study._storage.set_trial_user_attr(trial._trial_id, key, value)
    except (
        UpdateFinishedTrialError
    ):  # it lived after all, and has just finished: its retry will be a repeat
        return False
    return (
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True).state
        == TrialState.FAIL
    )


def sweep(study: optuna.Study, folder: Path) -> None:
    """Removes what killed processes left in `folder`: locks of ended trials, folders of
    interrupted ones, and checkpoints of networks that nobody trains or is to train. To be called
    inside `study_lock`.
    """
    trials = study.get_trials(deepcopy=False)
    wanted = {digest_of(trial) for trial in trials if not trial.state.is_finished()}
    for checkpoints in (folder / "checkpoints").glob("*"):
        if checkpoints.name not in wanted:
            shutil.rmtree(checkpoints, ignore_errors=True)
    mine = folder_id(folder)
    for lock in (folder / "trials").glob("*/lock"):
        number = int(lock.parent.name) if lock.parent.name.isdecimal() else len(trials)
        # Killed before it could say so, the trial whose lock lies here names no folder.
        if (
            number >= len(trials)
            or not trials[number].state.is_finished()
            or trials[number].user_attrs.get("folder", mine) != mine
        ):
            continue
        if trials[number].user_attrs.get("kind") == "interrupted":
            shutil.rmtree(lock.parent, ignore_errors=True)
        elif not _is_locked(lock):
            lock.unlink(missing_ok=True)


def digest_of(trial: FrozenTrial) -> str | None:
    """The digest of a trial's network; None where it has none yet."""
    genome = trial.user_attrs.get("genome")
    return trial.user_attrs.get("digest") or (Genome.from_json(genome).digest if genome else None)
