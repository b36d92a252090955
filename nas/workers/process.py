"""One worker's process, seen from the one that started it: begun, heard, asked to stop, and asked
how it died.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from nas.cli.parser import one_line
from nas.workers.worker import Assignment

# So much of a log's end is looked at for its last line.
TAIL_BYTES = 4096


class Process(Protocol):
    """What a crew (nas/workers/pool.py) holds of a started worker, wherever that runs."""

    def fileno(self) -> int:
        """What to wait on for events."""

    def events(self) -> list[dict[str, Any]] | None:
        """The events that came since; None once there will be no more."""

    def stop(self) -> None:
        """Asks it to put its trial back and to end."""

    def kill(self) -> None:
        """Ends it at once, and whatever it has started."""

    def close(self) -> int:
        """Waits until it has ended, and gives back its exit status (below 0: the signal that
        killed it).

        To be called when its events have ended, or after `kill`.
        """

    def last_words(self) -> str:
        """The last line of its standard error since it was started; empty where there is none."""


class WorkerProcess:
    """A started process of nas.workers.worker. Its standard error is added to `log`.

    It has a session of its own, so that Ctrl-C in a terminal reaches its starter alone, who
    decides; and the starter's end of a pipe, so that it learns of the starter's death, whatever
    that was.
    """

    def __init__(self, assignment: Assignment, log: Path, program: Sequence[str]) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            errors.write(f"--- {now}\n".encode())
            errors.flush()
            self._log, self._began = log, errors.tell()
            self._process = subprocess.Popen(
                list(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._rest = b""
        with contextlib.suppress(
            BrokenPipeError
        ):  # it is dead already: that is seen where its events end
            self._input.write(assignment.to_json().encode() + b"\n")
            self._input.flush()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def fileno(self) -> int:
        return self._output.fileno()

    def events(self) -> list[dict[str, Any]] | None:
        try:
            read = os.read(self._output.fileno(), 1 << 16)
        except BlockingIOError:
            return []
        if not read:
            return None
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [event for line in lines if (event := _event(line)) is not None]

    def stop(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int:
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # silent, yet there
            self.kill()
            status = self._process.wait()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()
        return status

    def last_words(self) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._began, end - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            return next((one_line(line)[:200] for line in reversed(lines) if line.strip()), "")
        return ""


def _event(line: bytes) -> dict[str, Any] | None:
    """One event; None where its end was cut off, since the process was killed while it wrote."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
