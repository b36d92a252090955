"""The workers of one machine: a process each, shown in one view, and started again where one dies.

A worker that dies costs what its trial did since its last checkpoint: another one takes that over, or the same, started again.
Only a worker that dies again and again while nobody finishes a trial is given up; the others go on without it.
"""

from __future__ import annotations

import dataclasses
import selectors
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from nas.asked import Asked
from nas.command import EXIT_INPUT
from nas.config import StudyConfig
from nas.live import View
from nas.loop import Ending, settle_reference
from nas.results import finished, read_rows
from nas.worker import LEAVE_S, Assignment
from nas.worker_process import WorkerProcess
from space import InputError

PROGRAM = (sys.executable, "-m", "nas.worker")
# A worker that dies so often before any trial was finished is given up.
MAX_DEATHS = 3
# Seconds between two looks at whether the process was asked to stop.
LOOK_S = 0.5
# The same word from several workers within so many seconds is told once.
SAME_S = 60.0


def run_workers(
    assignments: Sequence[Assignment], *, study: optuna.Study, config: StudyConfig, view: View, asked: Asked,
    program: Sequence[str] = PROGRAM,
) -> Ending:  # fmt: skip
    """Runs a process for each assignment until the study's budget is spent, and shows their events in `view`.

    Asked to stop, it asks them all, and waits until they have put their trials back; asked twice, it kills them. What
    they write to their standard error is added to RUNS/STUDY/workers/<index>.log. Raises InputError where none can
    go on before a user has mended something (a full disk, a device that is gone).
    """
    return _Crew(assignments, study, config, view, asked, program).run()


class Shown:
    """The events of several workers, shown in one view."""

    def __init__(self, study: optuna.Study, view: View, clock: Callable[[], float] = time.monotonic) -> None:
        self._study, self._view, self._clock = study, view, clock
        self._told: dict[str, float] = {}

    def show(self, worker: int, event: dict[str, Any]) -> bool:
        """Shows what `worker` told; True where that was the end of a trial with a verdict about its network."""
        view, board = self._view, self._view.board
        match event["event"]:
            case "started":
                view.started(event["number"], event["name"], worker=worker)
            case "progress":
                if (current := board.running.get(worker)) is not None:
                    current.name = event["name"]
                view.progress(event["phase"], event["done"], event["total"], event["figures"], worker=worker)
            case "ended":
                return self.refresh(worker, event["number"])
            case "note":
                self._note(worker, event["text"])
        return False

    def refresh(self, worker: int, number: int | None) -> bool:
        """Shows the study as it is now that `worker` is at nothing any more; as `show`."""
        rows = read_rows(self._study)
        if self._view.board.reference is None:
            self._view.board.reference = settle_reference(self._study, rows)
        self._view.ended(rows, number, worker=worker)
        return number is not None and rows[number].is_verdict

    def _note(self, worker: int, text: str) -> None:
        now = self._clock()
        if now - self._told.get(text, -SAME_S) >= SAME_S:
            self._view.note(f"worker {worker}: {text}")
        self._told[text] = now


@dataclasses.dataclass
class _Worker:
    assignment: Assignment
    process: WorkerProcess | None = None
    deaths: int = 0
    """Since a trial was last finished, by any worker."""
    ending: Ending | None = None
    """What it said at its end; of one that is given up, why."""


class _Crew:
    def __init__(
        self, assignments: Sequence[Assignment], study: optuna.Study, config: StudyConfig, view: View, asked: Asked,
        program: Sequence[str],
    ) -> None:  # fmt: skip
        self._study, self._config, self._view, self._asked, self._program = study, config, view, asked, program
        self._workers = [_Worker(assignment) for assignment in assignments]
        self._shown = Shown(study, view)
        self._selector = selectors.DefaultSelector()
        self._began = time.monotonic()

    def run(self) -> Ending:
        self._asked.deferring = True
        try:
            for worker in self._workers:
                self._start(worker)
            while self._running() or self._one_more():
                self._listen()
                if self._asked():
                    break
        except KeyboardInterrupt:  # asked twice
            pass
        finally:
            self._end_all()
            self._asked.deferring = False
            self._selector.close()
        return self._ending()

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    def _minutes_left(self) -> float | None:
        if self._config.timeout_min is None:
            return None
        return self._config.timeout_min - (time.monotonic() - self._began) / 60

    def _start(self, worker: _Worker) -> None:
        worker.ending = None
        assignment = worker.assignment
        changes = {**assignment.changes, "timeout_min": self._minutes_left()}
        log = Path(assignment.runs) / self._config.name / "workers" / f"{assignment.index}.log"
        worker.process = WorkerProcess(dataclasses.replace(assignment, changes=changes), log, self._program)
        self._selector.register(worker.process, selectors.EVENT_READ, worker)
        self._view.started(-1, "starting", worker=assignment.index)

    def _listen(self, timeout_s: float = LOOK_S) -> None:
        for key, _ in self._selector.select(timeout_s):
            worker: _Worker = key.data
            assert worker.process is not None
            events = worker.process.events()
            if events is None:
                self._bury(worker)
            for event in events or ():
                self._hear(worker, event)

    def _hear(self, worker: _Worker, event: dict[str, Any]) -> None:
        if event["event"] == "end":
            worker.ending = Ending(reason=event["reason"], status=event["status"])
        elif self._shown.show(worker.assignment.index, event):
            for one in self._workers:
                one.deaths = 0

    def _bury(self, worker: _Worker) -> None:
        """Its process has ended: notes how, and starts another where that was a death."""
        assert worker.process is not None
        process, index = worker.process, worker.assignment.index
        self._selector.unregister(process)
        status = process.close()
        worker.process = None
        self._shown.refresh(index, None)
        if worker.ending is not None:
            if worker.ending.status and not self._asked():
                self._view.note(f"worker {index} has ended: {worker.ending.reason}")
            return
        if self._asked():
            return
        worker.deaths += 1
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        said = process.last_words()
        how += f": {said}" if said else ""
        minutes = self._minutes_left()
        if worker.deaths >= MAX_DEATHS:
            reason = f"worker {index} died {worker.deaths} times before a trial was finished ({how})"
            self._view.note(f"{reason}; it is not started again")
            worker.ending = Ending(reason=reason, status=1)
        elif minutes is not None and minutes <= 0:
            self._view.note(f"worker {index} died ({how}), and the time is over")
        else:
            self._view.note(f"worker {index} died ({how}); it is started again")
            self._start(worker)

    def _one_more(self) -> bool:
        """Starts a worker again that ended since others ran the rest, where one of those was given up meanwhile."""
        minutes = self._minutes_left()
        failed = [worker for worker in self._workers if worker.ending and worker.ending.status]
        rested = [worker for worker in self._workers if worker.ending and not worker.ending.status]
        done = finished(read_rows(self._study)) >= self._config.trials
        if self._asked() or done or not (failed and rested) or (minutes is not None and minutes <= 0):
            return False
        # Each of the failed is replaced once: should the rest end again, then for another reason.
        self._workers.remove(failed[0])
        self._start(rested[0])
        return True

    def _end_all(self) -> None:
        """Asks all that run to stop, and kills those that don't in time; at once, where the user asks a second time."""
        for worker in self._running():
            assert worker.process is not None
            worker.process.stop()
        until = time.monotonic() + LEAVE_S
        try:
            while self._running() and time.monotonic() < until and len(self._asked.signals) < 2:
                self._listen()
        except KeyboardInterrupt:
            pass
        for worker in self._running():
            assert worker.process is not None
            worker.process.kill()
            self._selector.unregister(worker.process)
            worker.process.close()
            worker.process = None

    def _ending(self) -> Ending:
        done = finished(read_rows(self._study))
        if done >= self._config.trials:
            return Ending(reason=f"all {self._config.trials} trials finished")
        if self._asked():
            reason = "stopped; the running trials were put back, and the same command goes on"
            return Ending(reason=reason, status=self._asked.status)
        minutes = self._minutes_left()
        if minutes is not None and minutes <= 0:
            return Ending(reason=f"stopped after {self._config.timeout_min:g} minutes, as asked")
        endings = [worker.ending for worker in self._workers if worker.ending is not None]
        last = next((ending for ending in endings if not ending.status), endings[-1])
        if last.status == EXIT_INPUT:
            raise InputError(last.reason)
        return last


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
