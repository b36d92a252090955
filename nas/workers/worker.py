"""One worker of a search: its work, and the program that does it in a process of its own.

A worker does what one process of `python -m nas.search` does: it opens the study, loads the data,
and runs trials until the budget is spent. It displays nothing, but sends events, plain
dictionaries, to whoever started it:

    started     number, name                            View.started (nas/view/terminal.py)
    progress    name, phase, done, total, figures       View.progress; the trial's name
    ended       number                                  View.ended
    note        text                                    View.note
    end         reason, status                          its SearchOutcome

`python -m nas.workers.worker` reads one Assignment, a line of JSON, from its standard input (a
storage's URL may hold a password, and others can read command lines and environments), and writes
events as lines of JSON. Where its input ends, its starter is gone: it stops as if by SIGTERM.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import optuna

from nas import cli
from nas.cli.signals import StopSignal
from nas.loop.objective import Runner
from nas.loop.run import Load, run_search_process
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
from nas.view.state import ALONE, SearchOutcome, SearchState
from nas.view.terminal import REFRESH_S, View
from nas.workers.process import LEAVE_S, Assignment, Event

EXAMPLE = "python -m nas.workers.worker < assignment.json"
Send = Callable[[Event], None]
Work = Callable[[Assignment, Send, StopSignal], SearchOutcome]


def work(
    assignment: Assignment,
    send: Send,
    stop: StopSignal,
    *,
    runner: Runner | None = None,
    load: Load | None = None,
) -> SearchOutcome:
    """Does the whole of one worker in this process, and sends its events but for "end".

    `runner` and `load` replace trials.run_trial and trials.load_data. Raises InputError where a
    user must mend something, and KeyboardInterrupt on a request to stop.
    """
    import torch

    quiet_optuna()
    torch.set_num_threads(assignment.threads)
    changes = {**assignment.changes, "device": assignment.device}
    config = settle(load_config(assignment.study, changes))
    view = EventView(SearchState(study=config.name, total=config.trials, about=""), send)
    folder = Path(assignment.runs) / config.name
    make_folder(folder)
    url, owns = assignment.storage or default_url(folder), not assignment.storage
    storage = open_storage(
        url, heartbeat_s=config.heartbeat_s, report=view.note, stop=stop, is_known=True
    )
    try:
        study = optuna.load_study(study_name=config.name, storage=storage)
        return run_search_process(
            study, config, folder, view, stop, owns_storage=owns, runner=runner, load=load
        )
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
    finally:
        stop.deferring = True  # only the connection to the server is left to be closed
        storage.remove_session()
        storage.engine.dispose()


class EventView(View):
    """Sends what a search would display."""

    def __init__(self, state: SearchState, send: Send) -> None:
        super().__init__(state)
        self._send, self._phase, self._sent_at = send, "", 0.0

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        self.state.start(number, name)
        self._phase = ""
        self._send({"event": "started", "number": number, "name": name})

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        # A few times a second: others may be measuring on the same cores.
        now, current = time.monotonic(), self.state.current
        if phase != self._phase or now - self._sent_at >= REFRESH_S:
            self._phase, self._sent_at = phase, now
            event = {"event": "progress", "name": current.name if current else "", "phase": phase}
            self._send({**event, "done": done, "total": total, "figures": figures})

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        self.state.rows = rows
        self.state.running.clear()
        self._send({"event": "ended", "number": number})

    def note(self, text: str) -> None:
        self._send({"event": "note", "text": text})


def main(argv: Sequence[str], *, worker: Work = work) -> int:
    """The program: an Assignment comes in, events go out; the exit status is `worker`'s."""
    prog = "python -m nas.workers.worker"
    cli.Parser(prog=prog, description=__doc__, example=EXAMPLE).parse_args(argv)
    stop = _OneStopSignal()
    # What a library prints must not come between the events.
    events = os.dup(1)
    os.dup2(2, 1)
    lock = threading.Lock()  # a storage that waits sends a note from whatever thread

    def send(event: Event) -> None:
        # Where nobody reads any more the input has ended too: see `_watch`.
        with lock, contextlib.suppress(OSError):
            line = json.dumps(event).encode() + b"\n"
            while line:  # by os.write, which a signal's exception can't cut in halves
                line = line[os.write(events, line) :]

    with stop.installed():
        try:
            assignment = Assignment.from_json(sys.stdin.readline())
            threading.Thread(target=_watch, args=(sys.stdin.fileno(),), daemon=True).start()
            outcome = worker(assignment, send, stop)
        except KeyboardInterrupt:
            outcome = SearchOutcome(reason="stopped", status=stop.status)
        except Exception as error:
            message = cli.explain(error)
            if message is None:
                raise
            outcome = SearchOutcome(reason=cli.one_line(message), status=cli.EXIT_INPUT)
            print(f"error: {outcome.reason}", file=sys.stderr)
        stop.deferring = True
        send({"event": "end", "reason": outcome.reason, "status": outcome.status})
    return outcome.status


class _OneStopSignal(StopSignal):
    """Takes one signal: the second, as a scheduler and a starter may both send one to a worker,
    must not cut the checkpoint short.
    """

    def request(self, number: int = signal.SIGTERM) -> None:
        if not self.requested():
            super().request(number)


def _watch(descriptor: int) -> None:
    while os.read(descriptor, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LEAVE_S)
    os._exit(1)  # it hangs in a driver, and nobody is there to see it


if __name__ == "__main__":
    sys.exit(cli.run(main))
