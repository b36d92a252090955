"""Workers as forks of one process that has imported everything: a start then costs a tenth of a
second, not four.

The parent must have one thread only, and no connection to the database: a fork would share it. So
whatever the parent wants to know of the study it asks in a fork of its own (`in_fork`).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


@dataclass
class Worker:
    """One place at which a process works, again and again: `body(life)` gives its exit status."""

    index: int
    body: Callable[[int], int]
    log: Path
    pid: int | None = None
    life: int = -1


@dataclass
class Death:
    """How one life ended: by which signal (negative, as in subprocess) or with which exit status;
    when, and asked by whom.
    """

    life: int
    index: int
    status: int
    at: float
    by_us: tuple[int, ...]
    """The signals that we had sent; none: it ended by itself."""

    @property
    def was_killed(self) -> bool:
        """Whether our kill -9 is what ended it."""
        return self.status == -signal.SIGKILL and signal.SIGKILL in self.by_us


@dataclass
class WorkerPool:
    """The workers, and every life that ended so far."""

    workers: list[Worker]
    deaths: list[Death] = field(default_factory=list)
    _lives: int = 0
    _sent: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def alive(self) -> list[Worker]:
        """Those with a process (it may have ended since the last `reap`)."""
        return [worker for worker in self.workers if worker.pid is not None]

    @property
    def killed(self) -> int:
        """How many lives a kill -9 of ours has ended."""
        return sum(death.was_killed for death in self.deaths)

    @property
    def dying(self) -> int:
        """How many were sent a kill -9, and have not been seen to end."""
        return sum(signal.SIGKILL in self._sent.get(worker.life, ()) for worker in self.alive)

    def start(self, worker: Worker) -> None:
        """Forks the worker's next life."""
        self._lives += 1
        worker.life = self._lives
        worker.pid = fork(lambda life=worker.life: worker.body(life), worker.log)  # type: ignore[misc]

    def send(self, worker: Worker, number: int) -> None:
        """Sends a signal, and remembers that it was us."""
        assert worker.pid is not None
        self._sent[worker.life] = (*self._sent.get(worker.life, ()), number)
        os.kill(worker.pid, number)

    def reap(self) -> list[Death]:
        """The lives that have ended since."""
        ended = []
        for worker in self.alive:
            assert worker.pid is not None
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                ended.append(
                    Death(
                        worker.life,
                        worker.index,
                        code,
                        time.time(),
                        self._sent.get(worker.life, ()),
                    )
                )
                worker.pid = None
        self.deaths += ended
        return ended

    def wait(self, seconds: float) -> bool:
        """Waits until none lives; False where some still do after `seconds`."""
        until = time.monotonic() + seconds
        while self.alive and time.monotonic() < until:
            self.reap()
            time.sleep(0.05)
        return not self.alive

    def kill_all(self) -> None:
        """Whatever happens, no process stays."""
        for worker in self.alive:
            self.send(worker, signal.SIGKILL)
        self.wait(10)


def fork(body: Callable[[], int], log: Path | None = None) -> int:
    """The id of a new process that runs `body`, its output appended to `log`; it dies with its
    parent.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _live(body, log)


def _live(body: Callable[[], int], log: Path | None) -> NoReturn:
    status = 70
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(
                number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler
            )
        if log is not None:
            descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
        status = body()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def in_fork(body: Callable[[], Any]) -> Any:
    """What `body` gives back (plain JSON values), run in a process of its own; RuntimeError where
    that failed.
    """
    reading, writing = os.pipe()

    def tell() -> int:
        os.close(reading)
        with os.fdopen(writing, "w") as pipe:
            json.dump(body(), pipe)
        return 0

    pid = fork(tell)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status:
        raise RuntimeError(f"a look at the study failed ({os.waitstatus_to_exitcode(status)})")
    return json.loads(text)
