"""A Ray task that starts a worker's process on its machine and passes on its events.

It imports neither torch nor the search: that is up to the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from nas.cli.parser import EXIT_INPUT, explain, one_line
from nas.workers.process import Assignment, Event, WorkerProcess

BEGUN = "begun"
# Seconds between two checks for a request to stop.
POLL_S = 1.0


def run_worker(
    assignment: Assignment, log: Path, program: Sequence[str], queue: Any
) -> dict[str, Any]:
    """Runs a worker, whose events go into `queue` as pairs (index, event), until its end.

    Returns its last "end" event or None, its exit status and last words, and whether this task was
    signalled: by Ctrl-C, with which Ray cancels a task, or SIGTERM, with which it gives a machine
    back. The process is then asked to stop.
    """
    import ray

    signalled: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: signalled.append(number))

    def put(event: Event) -> None:
        with contextlib.suppress(ray.exceptions.RayError):  # only what is displayed is lost
            queue.put((assignment.index, event))

    put({"event": BEGUN})
    # The interpreter and the packages are this machine's.
    command = [sys.executable, *program[1:]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    end: Event | None = None
    try:
        process = WorkerProcess(assignment, log, command, environment)
    except OSError as error:
        end = {"event": "end", "reason": explain(error) or one_line(error), "status": EXIT_INPUT}
        return {"end": end, "status": EXIT_INPUT, "last_words": "", "signalled": False}
    stopping = False
    while (events := process.events()) is not None:
        for event in events:
            if event["event"] == "end":
                end = event
            else:
                put(event)
        if signalled and not stopping:
            stopping = True
            process.stop()
        if not events:
            wait([process.fileno()], POLL_S)
    status, words = process.close(), process.last_words()
    return {"end": end, "status": status, "last_words": words, "signalled": bool(signalled)}
