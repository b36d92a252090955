"""A worker's process, as whoever starts it sees it: its assignment, its events, and its end."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from nas.cli.parser import one_line
from space import InputError

MODULE = "nas.workers.worker"
Event = dict[str, Any]
# Seconds that a worker may take to put its trial back after a request to stop.
LEAVE_S = 60.0
# So much of a log's end is searched for its last line.
TAIL_BYTES = 4096


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What one worker needs to know: plain JSON values."""

    index: int  # its number among the workers, from 1
    study: str  # a study by name, or a path to its TOML file
    changes: dict[str, Any]  # flat config keys, as for load_config: the same for all workers
    runs: str  # the folder where studies keep their files
    storage: str | None = field(repr=False)  # URL, maybe with a password; None: RUNS/STUDY's file
    device: str  # where it trains and measures: "cpu", "cuda" or "cuda:N"
    threads: int  # CPU threads that it trains with; measurements have those of the study

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Assignment:
        """The inverse of `to_json`; InputError for anything else."""
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{MODULE} takes one Assignment as a line of JSON; start python -m nas.search"
            ) from error


class Process(Protocol):
    """A started worker, wherever it runs."""

    waiting: bool  # whether it has not begun yet, for want of a place to run
    lost: bool  # once closed: whether it ended with its machine, without a fault of its own

    def events(self) -> list[Event] | None:
        """The events that came since the last call; None once there will be no more."""

    def stop(self) -> None:
        """Asks it to put its trial back and to end."""

    def kill(self) -> None:
        """Ends it at once, and whatever it has started."""

    def close(self) -> int:
        """Waits for its end, after its last event or `kill`; its exit status (below 0: signal)."""

    def last_words(self) -> str:
        """The last line of its standard error since it was started; "" where there is none."""


class WorkerProcess:
    """A process of nas.workers.worker on this machine; its standard error is appended to `log`.

    It has a session of its own, so that Ctrl-C in a terminal reaches its starter alone; and its
    standard input ends with its starter, so that it learns of that, however the starter ended.
    """

    waiting = lost = False

    def __init__(
        self,
        assignment: Assignment,
        log: Path,
        program: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            errors.write(f"--- {now} on {socket.gethostname()}\n".encode())
            errors.flush()
            self._log, self._start = log, errors.tell()
            self._process = subprocess.Popen(
                list(program),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=environment,
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._output.fileno(), False)
        self._rest = b""
        with contextlib.suppress(BrokenPipeError):  # dead already: its events end then
            self._input.write(assignment.to_json().encode() + b"\n")
            self._input.flush()

    def fileno(self) -> int:
        """What to wait on for events."""
        return self._output.fileno()

    def events(self) -> list[Event] | None:
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
        except subprocess.TimeoutExpired:  # without events, yet still there
            self.kill()
            status = self._process.wait()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()
        return status

    def last_words(self) -> str:
        with contextlib.suppress(OSError), self._log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(self._start, end - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
            return next((one_line(line)[:200] for line in reversed(lines) if line.strip()), "")
        return ""


def _event(line: bytes) -> Event | None:
    """None for what is no event, such as a line cut off since the process was killed."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
