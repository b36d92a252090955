"""The workers of one machine: a process each, shown in one view, and started again where one dies.

A worker that dies costs what its trial did since its last checkpoint: another one takes that over,
or the same, started again. Only a worker that dies again and again while nobody finishes a trial
is given up; the others go on without it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import selectors
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from nas.cli.parser import EXIT_INPUT
from nas.cli.signals import StopSignal
from nas.view.state import SearchOutcome
from nas.study.config import StudyConfig
from nas.study.records import finished, read_rows
from nas.view.terminal import View
from nas.view.worker_events import EventReplay
from nas.workers.process import Process, WorkerProcess
from nas.workers.worker import LEAVE_S, Assignment
from space import InputError

PROGRAM = (sys.executable, "-m", "nas.workers.worker")
# A worker that dies so often before any trial was finished is given up.
MAX_DEATHS = 3
# Seconds between two looks at whether the process was asked to stop.
LOOK_S = 0.5


def run_workers(
    assignments: Sequence[Assignment],
    *,
    study: optuna.Study,
    config: StudyConfig,
    view: View,
    asked: StopSignal,
    program: Sequence[str] = PROGRAM,
) -> SearchOutcome:
    """Runs a process for each assignment until the study's budget is spent, and shows their events
    in `view`.

    Asked to stop, it asks them all, and waits until they have put their trials back; asked twice,
    it kills them. What they write to their standard error is added to
    RUNS/STUDY/workers/<index>.log. Raises InputError where none can go on before a user has mended
    something (a full disk, a device that is gone).
    """
    return WorkerPool(assignments, study, config, view, asked, program).run()


@dataclasses.dataclass
class Worker:
    """One of a crew: what it is to do, and the process that does it (None: none at the moment)."""

    assignment: Assignment
    process: Process | None = None
    deaths: int = 0
    """Since a trial was last finished, by any worker."""
    ending: SearchOutcome | None = None
    """What it said at its end; of one that is given up, why."""


class WorkerPool:
    """Several workers, seen to until the study's budget is spent; `program` is what their
    processes run.
    """

    def __init__(
        self,
        assignments: Sequence[Assignment],
        study: optuna.Study,
        config: StudyConfig,
        view: View,
        asked: StopSignal,
        program: Sequence[str],
    ) -> None:
        self._study, self._config, self._view, self._asked, self._program = (
            study,
            config,
            view,
            asked,
            program,
        )
        self._workers = [Worker(assignment) for assignment in assignments]
        self._shown = EventReplay(study, view)
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._began = time.monotonic()

    def run(self) -> SearchOutcome:
        """Starts them all, and comes back when the last has ended."""
        self._asked.deferring = True
        try:
            for worker in self._workers:
                self._start(worker)
            while self._running() or self._one_more():
                self._listen()
                if self._asked():
                    self._view.note(
                        "stopping: the workers put their trials back (a second Ctrl-C kills them)"
                    )
                    break
        except KeyboardInterrupt:  # asked twice
            pass
        finally:
            self._end_all()
            self._asked.deferring = False
            self._selector.close()
        return self._ending()

    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    def _minutes_left(self) -> float | None:
        if self._config.timeout_min is None:
            return None
        return self._config.timeout_min - (time.monotonic() - self._began) / 60

    def _start(self, worker: Worker) -> None:
        worker.ending = None
        assignment = worker.assignment
        changes = {**assignment.changes, "timeout_min": self._minutes_left()}
        log = Path(assignment.runs) / self._config.name / "workers" / f"{assignment.index}.log"
        worker.process = self._launch(dataclasses.replace(assignment, changes=changes), log)
        self._selector.register(worker.process, selectors.EVENT_READ, worker)
        self._view.started(-1, "starting", worker=assignment.index)

    def _launch(self, assignment: Assignment, log: Path) -> Process:
        return WorkerProcess(assignment, log, self._program)

    def _listen(self) -> None:
        for worker in self._heard_last():
            self._bury(worker)
        if self._shown.refresh():
            self._forgive()

    def _heard_last(self) -> list[Worker]:
        """Waits LOOK_S at most for events, takes them in, and gives the workers of whom no more
        will come.
        """
        last = []
        for key, _ in self._selector.select(LOOK_S):
            worker: Worker = key.data
            assert worker.process is not None
            events = worker.process.events()
            for event in events or ():
                self._hear(worker, event)
            if events is None:
                last.append(worker)
        return last

    def _forgive(self) -> None:
        for worker in self._workers:
            worker.deaths = 0

    def _hear(self, worker: Worker, event: dict[str, Any]) -> None:
        if event["event"] == "end":
            worker.ending = SearchOutcome(reason=event["reason"], status=event["status"])
        else:
            self._shown.show(worker.assignment.index, event)

    def _bury(self, worker: Worker) -> None:
        """Its process has ended: notes how, and starts another where that was a death."""
        index, said = (
            worker.assignment.index,
            worker.process.last_words() if worker.process else "",
        )
        status = self._close(worker)
        if self._shown.gone(index):
            self._forgive()
        if self._asked():
            return
        if worker.ending is not None:
            if worker.ending.status:
                self._view.note(f"worker {index} has ended: {worker.ending.reason}")
            return
        worker.deaths += 1
        how = f"killed by {_signal_name(-status)}" if status < 0 else f"exit status {status}"
        how += f": {said}" if said else ""
        minutes = self._minutes_left()
        if self._view.state.done >= self._config.trials:
            self._view.note(f"worker {index} died ({how}), and nothing is left to do")
        elif worker.deaths >= MAX_DEATHS:
            reason = (
                f"worker {index} died {worker.deaths} times before a trial was finished ({how})"
            )
            self._view.note(f"{reason}; it is not started again")
            worker.ending = SearchOutcome(reason=reason, status=1)
        elif minutes is not None and minutes <= 0:
            self._view.note(f"worker {index} died ({how}), and the time is over")
        else:
            self._view.note(f"worker {index} died ({how}); it is started again")
            self._start(worker)

    def _one_more(self) -> bool:
        """Starts a worker again that ended since others ran the rest, where one of those was given
        up meanwhile.
        """
        minutes = self._minutes_left()
        failed = [worker for worker in self._workers if worker.ending and worker.ending.status]
        rested = [worker for worker in self._workers if worker.ending and not worker.ending.status]
        done = finished(read_rows(self._study)) >= self._config.trials
        if (
            self._asked()
            or done
            or not (failed and rested)
            or (minutes is not None and minutes <= 0)
        ):
            return False
        # Each of the failed is replaced once: should the rest end again, then for another reason.
        self._workers.remove(failed[0])
        self._start(rested[0])
        return True

    def _close(self, worker: Worker) -> int:
        """Lets go of its process, which has ended; its exit status."""
        assert worker.process is not None
        process, worker.process = worker.process, None
        self._selector.unregister(process)
        return process.close()

    def _end_all(self) -> None:
        """Asks all that run to stop, and kills those that don't in time; at once, where the user
        asks a second time.
        """
        for worker in self._running():
            assert worker.process is not None
            worker.process.stop()
        until = time.monotonic() + LEAVE_S
        with contextlib.suppress(KeyboardInterrupt):
            while self._running() and time.monotonic() < until and len(self._asked.signals) < 2:
                self._see_off()
        for worker in self._running():
            assert worker.process is not None
            worker.process.kill()
            self._close(worker)

    def _see_off(self) -> None:
        for worker in self._heard_last():
            self._close(worker)
            with contextlib.suppress(
                Exception
            ):  # the storage may be what failed: all must be waited for even so
                self._shown.gone(worker.assignment.index)

    def _ending(self) -> SearchOutcome:
        done = finished(read_rows(self._study))
        if done >= self._config.trials:
            return SearchOutcome(reason=f"all {self._config.trials} trials finished")
        if self._asked():
            reason = "stopped; the running trials were put back, and the same command goes on"
            return SearchOutcome(reason=reason, status=self._asked.status)
        minutes = self._minutes_left()
        if minutes is not None and minutes <= 0:
            return SearchOutcome(
                reason=f"stopped after {self._config.timeout_min:g} minutes, as asked"
            )
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
