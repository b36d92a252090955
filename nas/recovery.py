"""A killed process loses one trial, no more: whose process is gone, and what to do about its trial.

Every running trial holds a lock (flock) on `trials/<number>/lock` in the study's folder. The kernel frees it
the moment its process ends, however it ends, so a RUNNING trial whose lock can be taken is known dead at
once, without waiting for a heartbeat to go stale and with any number of processes at work. Its parameters
are queued again before it is told as failed: whenever this in turn is killed, nothing is lost or queued twice.

A trial that runs in another study folder (another machine on the same database) can't be judged by a lock;
it counts as dead when its `alive_at` is old.

    folder     which study folder the trial runs in
    alive_at   seconds since 1970 at which it last showed progress
    retry_of   number of the interrupted trial whose parameters this one repeats
    attempts   how often a process has died with this network
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from space import DesignSpace, Genome

ALIVE_EVERY_S = 60.0
STALE_AFTER_S = 900.0
# A network with which the process died this often (a crash in a driver, the out-of-memory killer) is given up.
MAX_DEATHS = 3


def trial_directory(folder: Path, number: int) -> Path:
    """Where trial `number` keeps its files."""
    return folder / "trials" / f"{number:04d}"


@contextlib.contextmanager
def asking(folder: Path) -> Iterator[None]:
    """Held while a trial is asked for and claimed, so that nobody takes a trial just asked for as dead."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class Claim:
    """The lock of one running trial; as a context it is given back, and removed, at the end."""

    def __init__(self, folder: Path, trial: optuna.Trial) -> None:
        self.directory = trial_directory(folder, trial.number)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        self._trial = trial
        self._alive_at = 0.0
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        trial.set_user_attr("folder", folder_id(folder))
        self.show_life()

    def show_life(self) -> None:
        """Called with every progress; stores the time at most once a minute."""
        now = time.time()
        if now - self._alive_at >= ALIVE_EVERY_S:
            self._trial.set_user_attr("alive_at", now)
            self._alive_at = now

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:  # told: nobody will look at the lock again
            (self.directory / "lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.directory.rmdir()  # only where the trial left nothing
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


def recover(
    study: optuna.Study, folder: Path, space: DesignSpace, *, owns_storage: bool, died: bool = True
) -> list[int]:
    """The numbers of the trials that were found dead, told as failed (kind "interrupted") and queued again.

    To be called inside `asking`. `owns_storage` says that no other folder's processes use this storage;
    `died` is False where the user stopped the process, which is not the network's fault.
    """
    trials = study.get_trials(deepcopy=False)
    dead = [t for t in trials if t.state == TrialState.RUNNING and not _lives(t, folder, owns_storage)]
    queued = {t.user_attrs.get("retry_of") for t in trials}
    for trial in dead:
        attempts = int(trial.user_attrs.get("attempts", 0)) + died
        message = "its process was killed" if died else "stopped by the user"
        params = _params(trial, space)
        if attempts >= MAX_DEATHS:
            message = f"given up: the process died {attempts} times with this network"
        elif params is not None and trial.number not in queued:
            kept: dict[str, Any] = {key: trial.user_attrs[key] for key in ("seed", "genome", "sampler", "queued")
                                    if key in trial.user_attrs}  # fmt: skip
            study.enqueue_trial(params, user_attrs={**kept, "retry_of": trial.number, "attempts": attempts})
        _fail(study, trial, message)
    return [trial.number for trial in dead]


def _lives(trial: FrozenTrial, folder: Path, owns_storage: bool) -> bool:
    owner = trial.user_attrs.get("folder")
    if owner == folder_id(folder) or (owner is None and owns_storage):
        return _is_locked(trial_directory(folder, trial.number) / "lock")
    started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
    return time.time() - float(trial.user_attrs.get("alive_at", started)) < STALE_AFTER_S


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
    """The trial's parameters; None where it was killed before it had them all (then there is no network to retry)."""
    if set(trial.params) == {gene.name for gene in space.genes}:
        return dict(trial.params)
    genome = trial.user_attrs.get("genome")
    return None if genome is None else space.encode(Genome.from_json(genome))


def _fail(study: optuna.Study, trial: FrozenTrial, message: str) -> None:
    # Optuna has no public way to write an attribute of another process's trial; making an optuna.Trial for it
    # would let the sampler propose parameters once more.
    for key, value in {"kind": "interrupted", "message": message}.items():
        study._storage.set_trial_user_attr(trial._trial_id, key, value)
    study.tell(trial.number, state=TrialState.FAIL)
