"""The state of a running search, however it is displayed: rows, running trials, time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from nas.study.pareto import Reference, front_rows, rows_hypervolume
from nas.study.records import Row, finished

# The only worker of a search in one process.
ALONE = 0


@dataclass(frozen=True, kw_only=True)
class SearchOutcome:
    """Why a search ended, in one line, and the command's exit status."""

    reason: str
    status: int = 0


@dataclass
class Current:
    """The trial that a worker runs: its phase, and since when (seconds of a monotonic clock)."""

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
        """Updates it with the trial's progress."""
        if phase != self.phase:
            self.phase, self.phase_started, self.phase_first = phase, time.monotonic(), done
        self.done, self.total, self.figures = done, total, figures

    def left_s(self) -> float | None:
        """Seconds until its training (or the front's timing) ends, by its pace; None without."""
        done = self.done - self.phase_first  # a phase's first report may come late
        if self.phase not in ("train", "timing") or done <= 0:
            return None
        return (time.monotonic() - self.phase_started) / done * max(0, self.total - self.done)

    @property
    def label(self) -> str:
        """ "trial 3 M1"; or "data" or "front", which are no trials."""
        return f"trial {self.number} {self.name}" if self.number >= 0 else self.name

    def words(self) -> str:
        """Its phase: "train 120/500, loss 0.031"; nothing before the first progress."""
        if self.number < 0 and self.total == 0:
            return ""
        steps = f" {self.done}/{self.total}" if self.total > 1 else ""
        loss = f", loss {self.figures['loss']:.3g}" if "loss" in self.figures else ""
        return f"{self.phase}{steps}{loss}"


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
    """The trial of each worker, by its number."""
    started: float = field(default_factory=time.monotonic)

    def start(self, number: int, name: str, worker: int = ALONE) -> None:
        """A worker begins trial `number`, or something that is none (-1)."""
        now = time.monotonic()
        self.running[worker] = Current(number=number, name=name, started=now, phase_started=now)

    @property
    def current(self) -> Current | None:
        """The trial of a search in one process."""
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
        running = [(now - one.started, one.left_s()) for one in self.running.values()]
        paces = [elapsed + rest for elapsed, rest in running if rest is not None]
        past = [row.seconds for row in self.rows if row.is_verdict and row.seconds] or paces
        if not past:
            return None
        mean = sum(past) / len(past)
        trials_left = max(0, self.total - self.done)
        work, longest = trials_left * mean, 0.0
        for elapsed, rest in running:
            duration = max(mean, elapsed) if rest is None else elapsed + rest
            work += duration - mean - elapsed
            longest = max(longest, duration - elapsed)
        at_once = max(1, min(self.workers, trials_left))
        left = work if at_once == 1 else max(work / at_once, longest)
        if self.timeout_s is not None:
            # No trial starts after the timeout; the running ones then end.
            left = min(left, max(0.0, self.timeout_s - (now - self.started)) + mean)
        return max(0.0, left)
