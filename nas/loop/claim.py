"""A running trial's claim: a lock on its folder, and Optuna's heartbeat.

The lock (flock) on `trials/<number>/lock` in the study's folder is freed by the kernel the moment
its process ends, however it ends: a RUNNING trial whose lock is free is known dead at once. The
heartbeat says the same, later, to other machines and to other study folders.

A claimed trial's attributes `folder` and `machine` say which study folder it runs in, and where.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import threading
import uuid
from pathlib import Path

import optuna
from optuna.trial import TrialState

from nas.study.internals import storage_of, trial_id
from nas.study.schema import set_trial_attrs


class TakenOverError(Exception):
    """The trial is no longer this process's: it was cut off for too long and runs elsewhere."""


def checkpoints_folder(folder: Path, digest: str) -> Path:
    """Where a running trial of the network `digest` keeps its checkpoints."""
    return folder / "checkpoints" / digest


def trial_directory(folder: Path, number: int) -> Path:
    """Where trial `number` keeps its files."""
    return folder / "trials" / f"{number:04d}"


class Claim:
    """The lock and heartbeat of one running trial, a context; the lock is removed at its end.

    Where an exception ends it (Ctrl-C, a full disk), the lock file stays and says so, before it is
    free: another process may find it first, and must not take it for one whose process was killed.
    """

    def __init__(self, folder: Path, trial: optuna.Trial) -> None:
        self.directory = trial_directory(folder, trial.number)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._reached = {"step": 0, "seconds": 0.0}
            self._write(let_go=False)  # its room on the disk is taken now
            self._heartbeat = Heartbeat(trial)
            set_trial_attrs(trial, machine=machine_id(), folder=folder_id(folder))
        except BaseException:
            # Else the trial would count as alive for as long as this process is.
            os.close(self._descriptor)
            raise

    def show_life(self, step: int, seconds: float) -> None:
        """Writes how far the training is; TakenOverError where the trial runs elsewhere by now."""
        if self._heartbeat.is_lost:
            raise TakenOverError
        self._reached = {"step": step, "seconds": seconds}
        self._write(let_go=False)

    def _write(self, *, let_go: bool) -> None:
        # In place, and padded: a reader gets the old or the new.
        written = json.dumps({**self._reached, "let_go": let_go}).ljust(100)
        os.pwrite(self._descriptor, written.encode(), 0)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            self._heartbeat.end()
            if kind is None:  # the trial has ended: nobody will check the lock again
                (self.directory / "lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.directory.rmdir()  # only where the trial has no files
            else:
                with contextlib.suppress(OSError):  # what ended the trial is the error to tell
                    self._write(let_go=True)
        finally:
            os.close(self._descriptor)


class Heartbeat:
    """Beats in a thread of its own until `end()`, where the trial's storage has heartbeats.

    The thread also sees when the trial has ended elsewhere: another machine took it for dead.
    """

    def __init__(self, trial: optuna.Trial) -> None:
        self.is_lost = False
        """Whether the trial was seen to run no longer, though nothing here has ended it."""
        self._storage, self._trial_id = storage_of(trial.study), trial_id(trial)
        self._ended = threading.Event()
        interval_s = getattr(self._storage, "get_heartbeat_interval", lambda: None)()
        if interval_s is None:
            return
        self._storage.record_heartbeat(self._trial_id)  # type: ignore[attr-defined]  # a BaseHeartbeat, by its interval
        threading.Thread(target=self._beat, args=(interval_s,), daemon=True).start()

    def end(self) -> None:
        """Ends the beats; one that is on its way is not awaited."""
        self._ended.set()

    def _beat(self, interval_s: float) -> None:
        while not self._ended.wait(interval_s):
            # Where the storage does not answer, the search itself will find out, and say so.
            with contextlib.suppress(Exception):
                running = self._storage.get_trial(self._trial_id).state == TrialState.RUNNING
                if self._ended.is_set():
                    return
                if not running:
                    self.is_lost = True
                    return
                self._storage.record_heartbeat(self._trial_id)  # type: ignore[attr-defined]


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock file."""
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
    """What tells this machine (or container) from every other, where it has an id forever."""
    with contextlib.suppress(OSError):
        return f"{Path('/etc/machine-id').read_text().strip()}-{socket.gethostname()}"
    return socket.gethostname()
