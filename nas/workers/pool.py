"""The workers of a search, displayed in one view, and started again where one dies.

A worker that dies costs what its trial did since its last checkpoint: another one takes that over,
or the same, started again. A worker that dies repeatedly while no trial gets finished is given up;
the others go on without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

import optuna

from nas.cli.parser import EXIT_INPUT
from nas.cli.signals import StopSignal
from nas.study.config import StudyConfig
from nas.study.records import finished, read_rows
from nas.view.state import SearchOutcome
from nas.view.terminal import View
from nas.view.worker_events import EventReplay
from nas.workers.process import LEAVE_S, MODULE, Assignment, Event, Process, WorkerProcess
from space import InputError

PROGRAM = (sys.executable, "-m", MODULE)
# A worker that dies so often before any trial was finished is given up.
MAX_DEATHS = 3
# Seconds between two checks for a request to stop.
POLL_S = 0.5


class Launcher(Protocol):
    """Starts workers, and waits for their events."""

    def start(self, assignment: Assignment, log: Path) -> Process:
        """Starts a worker, whose standard error is appended to `log`."""

    def wait(self, processes: Sequence[Any], timeout_s: float) -> None:
        """Waits until one of `processes`, started here, may have events, or has ended."""


class LocalLauncher:
    """Starts workers as processes of this machine, which run `program`."""

    def __init__(self, program: Sequence[str]) -> None:
        self._program = program

    def start(self, assignment: Assignment, log: Path) -> Process:
        return WorkerProcess(assignment, log, self._program)

    def wait(self, processes: Sequence[WorkerProcess], timeout_s: float) -> None:
        connection.wait([process.fileno() for process in processes], timeout_s)


def run_workers(
    assignments: Sequence[Assignment],
    *,
    study: optuna.Study,
    config: StudyConfig,
    view: View,
    stop: StopSignal,
    program: Sequence[str] = PROGRAM,
) -> SearchOutcome:
    """Runs a process for each assignment until the study's budget is spent; `view` displays them.

    A signal is passed on, and their trials are put back; a second one kills them. Their standard
    error is appended to RUNS/STUDY/workers/<index>.log. Raises InputError where none can go on
    before a user has mended something (a full disk, a lost device).
    """
    return WorkerPool(assignments, LocalLauncher(program), study, config, view, stop).run()


@dataclasses.dataclass
class Worker:
    """What it is to do, and the process that does it (None: none at the moment)."""

    assignment: Assignment
    process: Process | None = None
    deaths: int = 0  # since a trial was last finished, by any worker
    outcome: SearchOutcome | None = None  # as reported at its end; of one that is given up, why


class WorkerPool:
    """Several workers, supervised until the study's budget is spent."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        launcher: Launcher,
        study: optuna.Study,
        config: StudyConfig,
        view: View,
        stop: StopSignal,
    ) -> None:
        self._launcher, self._study, self._config = launcher, study, config
        self._view, self._stop = view, stop
        self._workers = [Worker(assignment) for assignment in assignments]
        self._replay = EventReplay(study, view)
        self._began = time.monotonic()

    def run(self) -> SearchOutcome:
        """Starts them all, and returns when the last has ended."""
        self._stop.deferring = True
        try:
            for worker in self._workers:
                self._start(worker)
            while self._running() or self._start_one_more():
                for worker in self._read_events():
                    self._on_exit(worker)
                if self._replay.refresh():
                    self._reset_failures()
                if self._stop.requested():
                    kills = "a second Ctrl-C kills them"
                    self._view.note(f"stopping: the workers put their trials back ({kills})")
                    break
        except KeyboardInterrupt:  # a second signal
            pass
        finally:
            self._end_all()
            self._stop.deferring = False
        return self._outcome()

    def _running(self) -> list[tuple[Worker, Process]]:
        return [(worker, worker.process) for worker in self._workers if worker.process is not None]

    def _minutes_left(self) -> float | None:
        if self._config.timeout_min is None:
            return None
        return self._config.timeout_min - (time.monotonic() - self._began) / 60

    def _is_time_over(self) -> bool:
        minutes = self._minutes_left()
        return minutes is not None and minutes <= 0

    def _is_finished(self) -> bool:
        return finished(read_rows(self._study)) >= self._config.trials

    def _start(self, worker: Worker) -> None:
        worker.outcome = None
        assignment = worker.assignment
        changes = {**assignment.changes, "timeout_min": self._minutes_left()}
        log = Path(assignment.runs) / self._config.name / "workers" / f"{assignment.index}.log"
        changed = dataclasses.replace(assignment, changes=changes)
        worker.process = self._launcher.start(changed, log)
        self._view.started(-1, "starting", worker=assignment.index)

    def _read_events(self) -> list[Worker]:
        """Waits POLL_S at most for events, and handles them; the workers that have no more."""
        running = self._running()
        self._launcher.wait([process for _, process in running], POLL_S)
        ended = []
        for worker, process in running:
            events = process.events()
            for event in events or ():
                self._on_event(worker, event)
            if events is None:
                ended.append(worker)
        return ended

    def _on_event(self, worker: Worker, event: Event) -> None:
        if event["event"] == "end":
            worker.outcome = SearchOutcome(reason=event["reason"], status=event["status"])
        else:
            self._replay.show(worker.assignment.index, event)

    def _reset_failures(self) -> None:
        for worker in self._workers:
            worker.deaths = 0

    def _on_exit(self, worker: Worker) -> None:
        """Notes how its process ended, and starts another where that was a death."""
        assert worker.process is not None
        index, process = worker.assignment.index, worker.process
        words, status = process.last_words(), self._close(worker)
        if self._replay.gone(index):
            self._reset_failures()
        if self._stop.requested():
            return
        if worker.outcome is not None:
            if worker.outcome.status:
                self._view.note(f"worker {index} has ended: {worker.outcome.reason}")
            elif self._is_finished():
                for _, other in self._running():
                    if other.waiting:  # for a place, which it needs no more
                        other.stop()
            return
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        how += f": {words}" if words else ""
        died = f"worker {index} died ({how})"
        worker.deaths += not process.lost
        if self._view.state.done >= self._config.trials:
            self._view.note(f"{died}, and nothing is left to do")
        elif worker.deaths >= MAX_DEATHS:
            times = f"worker {index} died {worker.deaths} times"
            reason = f"{times} before a trial was finished ({how})"
            self._view.note(f"{reason}; it is not started again")
            worker.outcome = SearchOutcome(reason=reason, status=1)
        elif self._is_time_over():
            self._view.note(f"{died}, and the time is over")
        else:
            lost = f"worker {index}: {words}; it goes on on another"
            self._view.note(lost if process.lost else f"{died}; it is started again")
            self._start(worker)

    def _start_one_more(self) -> bool:
        """Starts one again that ended as others ran the rest, of whom one was then given up."""
        failed = [worker for worker in self._workers if worker.outcome and worker.outcome.status]
        rested = [worker for worker in self._workers if worker.outcome and worker not in failed]
        if not (failed and rested) or self._stop.requested() or self._is_time_over():
            return False
        if self._is_finished():
            return False
        # Each of the failed is replaced once: should the rest end again, then for another reason.
        self._workers.remove(failed[0])
        self._start(rested[0])
        return True

    def _close(self, worker: Worker) -> int:
        """The exit status of its process, which has ended."""
        assert worker.process is not None
        process, worker.process = worker.process, None
        return process.close()

    def _end_all(self) -> None:
        """Stops all, and kills those that take too long, or all after a second signal."""
        for _, process in self._running():
            process.stop()
        until = time.monotonic() + LEAVE_S
        with contextlib.suppress(KeyboardInterrupt):
            while self._running() and time.monotonic() < until and len(self._stop.signals) < 2:
                for worker in self._read_events():
                    self._close(worker)
                    # The storage may be what failed: all must be waited for even so.
                    with contextlib.suppress(Exception):
                        self._replay.gone(worker.assignment.index)
        for worker, process in self._running():
            process.kill()
            self._close(worker)

    def _outcome(self) -> SearchOutcome:
        if self._is_finished():
            return SearchOutcome(reason=f"all {self._config.trials} trials finished")
        if self._stop.requested():
            reason = "stopped; the running trials were put back, and the same command goes on"
            return SearchOutcome(reason=reason, status=self._stop.status)
        if self._is_time_over():
            minutes = self._config.timeout_min
            return SearchOutcome(reason=f"stopped after {minutes:g} minutes, as asked")
        outcomes = [worker.outcome for worker in self._workers if worker.outcome is not None]
        last = next((outcome for outcome in outcomes if not outcome.status), outcomes[-1])
        if last.status == EXIT_INPUT:
            raise InputError(last.reason)
        return last


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
