"""What the workers of a soak did, line by line in one file: a record besides the study.

A line is one write to a file opened for appending, so lines of several processes never mix, and
what was written before a kill -9 stays. A `life` is one process of one worker, from its fork to
its death.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Journal:
    """One life's way of writing."""

    def __init__(self, path: Path, life: int) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._life = life

    def write(self, what: str, number: int, **more: Any) -> None:
        """One line: what happened in trial `number`, now."""
        line = {"life": self._life, "at": time.time(), "what": what, "number": number, **more}
        os.write(self._descriptor, (json.dumps(line) + "\n").encode())


def witnessed(runner: Callable[..., Any], journal: Journal) -> Callable[..., Any]:
    """`runner` (trials.run_trial), which also writes its course into `journal`."""

    def run(genome: Any, config: Any, *, directory: Path, on_progress: Any, **more: Any) -> Any:
        number = int(directory.name)

        def noted(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            if phase in ("resume", "train"):
                journal.write(phase, number, step=done, seconds=figures.get("seconds"))
            on_progress(phase, done, total, figures)

        journal.write("begin", number, digest=genome.digest)
        result = runner(genome, config, directory=directory, on_progress=noted, **more)
        journal.write("end", number, digest=genome.digest, kind=result.kind)
        return result

    return run


@dataclass
class Run:
    """One trial's run in one life, as the journal tells it. Times are seconds since 1970."""

    number: int
    life: int
    digest: str
    began_at: float
    last_at: float
    """When its life wrote for the last time, of this run or of one after it."""
    steps: list[tuple[int, float, float]] = field(default_factory=list)
    """(step, time, seconds of training so far); the first is where it began or went on."""
    kind: str | None = None
    """How it ended; None where its life ended before it."""
    was_last: bool = True
    """Whether its life began no other run afterwards: its result may not be in the study then."""


def read_journal(path: Path) -> list[Run]:
    """All runs, in the order in which they began."""
    runs: list[Run] = []
    now: dict[int, Run] = {}
    for text in path.read_text().splitlines() if path.exists() else []:
        line = json.loads(text)
        life = int(line["life"])
        if line["what"] == "begin":
            if life in now:
                now[life].was_last = False
            now[life] = Run(line["number"], life, line["digest"], line["at"], line["at"])
            runs.append(now[life])
        elif line["what"] == "end":
            now[life].kind = line["kind"]
        elif line["what"] in ("resume", "train"):
            now[life].steps.append((line["step"], line["at"], line["seconds"] or 0.0))
        now[life].last_at = line["at"]
    return runs
