"""Everything that is shown of a running search, however it is drawn: the study's rows, who runs
what, and the time left.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from nas.study.pareto import Reference, front_rows, rows_hypervolume
from nas.study.records import Row, finished

# The only worker of a search in one process.
ALONE = 0


@dataclass
class Current:
    """The trial that a worker runs: what it is at, and since when (seconds of a monotonic clock)."""

    number: int
    name: str
    started: float
    phase: str = "proposing"
    done: int = 0
    total: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    phase_started: float = 0.0
    phase_first: int = 0

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        """Takes in what the trial told."""
        if phase != self.phase:
            self.phase, self.phase_started, self.phase_first = phase, time.monotonic(), done
        self.done, self.total, self.figures = done, total, figures

    def left_s(self) -> float | None:
        """Seconds until its training (or the front's timing) ends, by its pace so far; None while
        there is no pace.
        """
        seen = self.done - self.phase_first  # the first word of a phase may come late
        if self.phase not in ("train", "timing") or seen <= 0:
            return None
        return (time.monotonic() - self.phase_started) / seen * max(0, self.total - self.done)

    @property
    def label(self) -> str:
        """Who runs: "trial 3 M1"; what is no trial has a name of its own, "data" or "front"."""
        return f"trial {self.number} {self.name}" if self.number >= 0 else self.name

    def words(self) -> str:
        """What it is at: "train 120/500, loss 0.031"; nothing before it tells."""
        if self.number < 0 and self.total == 0:
            return ""
        steps = f" {self.done}/{self.total}" if self.total > 1 else ""
        told = "".join(
            f", {name} {value:.3g}" for name, value in self.figures.items() if name == "loss"
        )
        return f"{self.phase}{steps}{told}"


@dataclass
class SearchState:
    """The study's rows, the running trials, and how long it may yet take."""

    study: str
    total: int
    about: str
    """Sampler, device and data, in a few words."""
    latency_limit_ms: float | None = None
    timeout_s: float | None = None
    reference: Reference | None = None
    rows: Sequence[Row] = ()
    workers: int = 1
    """How many trials run at once."""
    running: dict[int, Current] = field(default_factory=dict)
    """What each worker is at, by its number."""
    started: float = field(default_factory=time.monotonic)

    def start(self, number: int, name: str, worker: int = ALONE) -> None:
        """A worker begins trial `number`, or something that is none (-1)."""
        now = time.monotonic()
        self.running[worker] = Current(number=number, name=name, started=now, phase_started=now)

    @property
    def current(self) -> Current | None:
        """What a search in one process is at."""
        return self.running.get(ALONE)

    @property
    def done(self) -> int:
        """Finished trials of different networks."""
        return finished(self.rows)

    @property
    def hypervolume(self) -> float | None:
        """The front's hypervolume in dB x octaves; None before MO is measured."""
        return rows_hypervolume(self.rows, self.reference, self.latency_limit_ms)

    @property
    def front(self) -> list[Row]:
        """The front's rows, fastest first."""
        return front_rows(self.rows, self.latency_limit_ms)

    def left_s(self) -> float | None:
        """Seconds until the study ends: what the running trials need and the mean of the finished
        for the rest, shared by all workers.
        """
        now = time.monotonic()
        rests = {worker: (now - one.started, one.left_s()) for worker, one in self.running.items()}
        paces = [gone + rest for gone, rest in rests.values() if rest is not None]
        past = [row.seconds for row in self.rows if row.is_verdict and row.seconds] or paces
        if not past:
            return None
        mean = sum(past) / len(past)
        trials_left = max(0, self.total - self.done)
        work, longest = trials_left * mean, 0.0
        for gone, rest in rests.values():
            whole = max(mean, gone) if rest is None else gone + rest
            work += whole - mean - gone
            longest = max(longest, whole - gone)
        at_once = max(1, min(self.workers, trials_left))
        left = work if at_once == 1 else max(work / at_once, longest)
        if self.timeout_s is not None:
            # No trial starts after the timeout; the ones that run then end.
            left = min(left, max(0.0, self.timeout_s - (now - self.started)) + mean)
        return max(0.0, left)
