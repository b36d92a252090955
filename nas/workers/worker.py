"""One worker of a search: what it is told to do, the whole of its work, and the program that does
it in a process of its own.

A worker does what one process of `python -m nas.search` does: it opens the study, loads the data,
and runs trials until the budget is spent. It shows nothing, but tells events, plain dictionaries,
to whoever started it:

    {"event": "started", "number", "name"}                                    as View.started of
    nas/view/terminal.py {"event": "progress", "name", "phase", "done", "total", "figures"}
    as View.progress, and the trial's name by now {"event": "ended", "number"}
    as View.ended, which reads the study itself {"event": "note", "text"}
    as View.note {"event": "end", "reason", "status"}                                      its
    Ending; status 2: a user must mend something first

`python -m nas.workers.worker` reads one Assignment, a line of JSON, from its standard input (a storage's
URL may hold a password, and command lines and environments can be read by others), and writes
events as lines of JSON. Where its input ends it stops as if asked by SIGTERM: whoever started it
is gone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import optuna

from nas import cli
from nas.cli.signals import StopSignal
from nas.loop.objective import Runner
from nas.loop.run import Load, run_search_process
from nas.loop.search_loop import SearchOutcome
from nas.study.config import load_config, settle
from nas.study.records import Row
from nas.study.storage import (
    default_url,
    is_storage_error,
    open_storage,
    quiet_optuna,
    storage_error,
)
from nas.study.store import make_folder
from nas.view.state import ALONE, SearchState
from nas.view.terminal import REFRESH_S
from space import InputError

EXAMPLE = "python -m nas.workers.worker < assignment.json"
Tell = Callable[[dict[str, Any]], None]
# Seconds that a worker whose starter is gone may take to put its trial back.
LEAVE_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What one worker is told: plain JSON values."""

    index: int
    """Its number among the workers, from 1: how it is called where its events are shown, and in
    its log's name.
    """
    study: str
    """A study by name, or a path to its TOML file."""
    changes: dict[str, Any]
    """Flat config keys, as nas.config.load_config takes them: what every worker of the study has
    in common.
    """
    runs: str
    """The folder where studies keep their files."""
    storage: str | None = field(repr=False)
    """The storage's URL, which may hold a password; None: the file in the study's folder."""
    device: str
    """Where it trains and measures: "cpu", "cuda" or "cuda:N"."""
    threads: int
    """CPU threads that it trains with; a measurement, alone on its device, has those of the study.
    """

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """What `to_json` made; InputError for anything else."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise InputError(
                "nas.workers.worker takes one Assignment as a line of JSON from its standard input; it is "
                "started by python -m nas.search --workers N"
            ) from error


def work(
    assignment: Assignment,
    tell: Tell,
    asked: StopSignal,
    *,
    runner: Runner | None = None,
    load: Load | None = None,
) -> SearchOutcome:
    """Does the whole of one worker in this process, and tells events, but for the "end".

    `runner` and `load` replace trials.run_trial and trials.load_data. Raises InputError where a
    user must mend something.
    """
    import torch

    quiet_optuna()
    torch.set_num_threads(assignment.threads)
    try:
        config = settle(
            load_config(assignment.study, {**assignment.changes, "device": assignment.device})
        )
        view = EventView(SearchState(study=config.name, total=config.trials, about=""), tell)
        folder = Path(assignment.runs) / config.name
        make_folder(folder)
        url = assignment.storage or default_url(folder)
        storage = open_storage(
            url, heartbeat_s=config.heartbeat_s, report=view.note, stop=asked, is_known=True
        )
        try:
            study = optuna.load_study(study_name=config.name, storage=storage)
            return run_search_process(
                study,
                config,
                folder,
                view,
                asked,
                owns_storage=not assignment.storage,
                runner=runner,
                load=load,
            )
        except Exception as error:
            if is_storage_error(error):
                raise storage_error(error, url) from error
            raise
        finally:
            asked.deferring = True  # nothing is left to be cut but the farewell to the server
            storage.remove_session()
            storage.engine.dispose()
    except KeyboardInterrupt:
        return SearchOutcome(reason="stopped", status=asked.status)


class EventView:
    """Tells what a search would show; a nas.view.terminal.View."""

    def __init__(self, board: SearchState, tell: Tell) -> None:
        self.board = board
        self._tell = tell
        self._phase, self._told = "", 0.0

    def __enter__(self) -> EventView:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.board.running.clear()

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        self.board.start(number, name)
        self._phase = ""
        self._tell({"event": "started", "number": number, "name": name})

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        """Told a few times a second: nobody can read more, and others may be measuring on the same
        cores.
        """
        now, current = time.monotonic(), self.board.current
        if phase != self._phase or now - self._told >= REFRESH_S:
            self._phase, self._told = phase, now
            name = current.name if current else ""
            self._tell(
                {
                    "event": "progress",
                    "name": name,
                    "phase": phase,
                    "done": done,
                    "total": total,
                    "figures": figures,
                }
            )

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        self.board.rows = rows
        self.board.running.clear()
        self._tell({"event": "ended", "number": number})

    def note(self, text: str) -> None:
        self._tell({"event": "note", "text": text})


def main(
    argv: Sequence[str], *, worker: Callable[[Assignment, Tell, StopSignal], SearchOutcome] = work
) -> int:
    """The program: an Assignment comes in, events go out; `worker` does what lies between. The
    exit status: the Ending's.
    """
    cli.Parser(
        prog="python -m nas.workers.worker", description=__doc__, example=EXAMPLE
    ).parse_args(argv)
    asked = _AskedOnce()
    # What a library prints must not come between the events.
    events = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()  # a storage that waits tells so from whatever thread

    def tell(event: dict[str, Any]) -> None:
        # Where nobody listens any more the input has ended too: see `_watch`.
        with lock, contextlib.suppress(OSError):
            line = json.dumps(event).encode() + b"\n"
            while line:  # by the system's own call, which a signal's exception can't cut in halves
                line = line[os.write(events, line) :]

    with asked.installed():
        try:
            assignment = Assignment.from_json(sys.stdin.readline())
            threading.Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True).start()
            ending = worker(assignment, tell, asked)
        except KeyboardInterrupt:
            ending = SearchOutcome(reason="stopped", status=asked.status)
        except Exception as error:
            message = cli.explain(error)
            if message is None:
                raise
            ending = SearchOutcome(reason=cli.one_line(message), status=cli.EXIT_INPUT)
            print(f"error: {ending.reason}", file=sys.stderr)
        asked.deferring = True
        tell({"event": "end", "reason": ending.reason, "status": ending.status})
    return ending.status


class _AskedOnce(StopSignal):
    """A scheduler signals all processes of a job, and so does their starter: the second must not
    cut the checkpoint short.

    Who has no time for that can still kill it.
    """

    def stop(self, number: int = signal.SIGTERM) -> None:
        if not self():
            super().stop(number)


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAVE_S)
    os._exit(1)  # it hangs in a driver, and nobody is there to see it


if __name__ == "__main__":
    sys.exit(cli.run(main))
