"""The running search, for whoever watches it: a live table in a terminal, plain lines in a log.

Nothing here runs by itself: no thread refreshes the table, since it would disturb the latency that a trial
measures on the same cores. The table moves when a trial tells its progress.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from nas.front import Reference, front_rows, rows_hypervolume
from nas.results import Row, finished
from nas.tables import duration, figure, kind_text, milliseconds, trials_table

REFRESH_S = 0.25
LOG_EVERY_S = 30.0
HYPERVOLUME_UNIT = "dB x octaves"


@dataclass
class Current:
    """The trial that runs: what it is at, and since when (seconds of a monotonic clock)."""

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
        """Seconds until its training (or the front's timing) ends, by its pace so far; None while there is no pace."""
        seen = self.done - self.phase_first  # the first word of a phase may come late
        if self.phase not in ("train", "timing") or seen <= 0:
            return None
        return (time.monotonic() - self.phase_started) / seen * max(0, self.total - self.done)

    @property
    def label(self) -> str:
        """Who runs: "trial 3 M1"; what is no trial has a name of its own, "data" or "front"."""
        return f"trial {self.number} {self.name}" if self.number >= 0 else self.name

    def words(self) -> str:
        """What it is at: "train 120/500, loss 0.031"."""
        steps = f" {self.done}/{self.total}" if self.total > 1 else ""
        told = "".join(f", {name} {value:.3g}" for name, value in self.figures.items() if name == "loss")
        return f"{self.phase}{steps}{told}"


@dataclass
class Board:
    """Everything that is shown: the study's rows, the running trial, and how long it may yet take."""

    study: str
    total: int
    about: str
    """Sampler, device and data, in a few words."""
    latency_limit_ms: float | None = None
    timeout_s: float | None = None
    reference: Reference | None = None
    rows: Sequence[Row] = ()
    current: Current | None = None
    started: float = field(default_factory=time.monotonic)

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
        """Seconds until the study ends: what the running trial needs and the mean of the finished for the rest."""
        past = [row.seconds for row in self.rows if row.is_verdict and row.seconds]
        now, current = time.monotonic(), self.current
        own = None
        if current is not None and (rest := current.left_s()) is not None:
            own = now - current.started + rest
            past = past or [own]
        if not past:
            return None
        mean = sum(past) / len(past)
        left = max(0, self.total - self.done) * mean
        if current is not None:
            left += (own or max(mean, now - current.started)) - mean - (now - current.started)
        if self.timeout_s is not None:
            # No trial starts after the timeout; the one that runs then ends.
            left = min(left, max(0.0, self.timeout_s - (now - self.started)) + mean)
        return max(0.0, left)


class View(Protocol):
    """Where the search is shown; used as a context."""

    board: Board

    def __enter__(self) -> View: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def started(self, number: int, name: str) -> None:
        """A trial starts; or the data is made ("data") or the front timed again ("front"), whose number is -1."""

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        """The running trial tells how far it is."""

    def ended(self, rows: Sequence[Row], number: int | None) -> None:
        """Trial `number` has ended (None: the data is ready), and the study now holds `rows`."""

    def note(self, text: str) -> None:
        """Something to know, one line."""


class _Base:
    def __init__(self, board: Board, console: Console) -> None:
        self.board, self.console = board, console

    def __enter__(self) -> _Base:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.current = None

    def started(self, number: int, name: str) -> None:
        now = time.monotonic()
        self.board.current = Current(number=number, name=name, started=now, phase_started=now)

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        if self.board.current is not None:
            self.board.current.progress(phase, done, total, figures)

    def ended(self, rows: Sequence[Row], number: int | None) -> None:
        self.board.rows, self.board.current = rows, None

    def note(self, text: str) -> None:
        self.console.print(escape(text), highlight=False, soft_wrap=True)


class TableView(_Base):
    """A table that moves, in a terminal."""

    def __init__(self, board: Board, console: Console) -> None:
        super().__init__(board, console)
        self._live = Live(console=console, auto_refresh=False, get_renderable=self.render, vertical_overflow="crop",
                          redirect_stdout=False, redirect_stderr=False)  # fmt: skip
        self._refreshed = 0.0

    def __enter__(self) -> TableView:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self._live.stop()

    def started(self, number: int, name: str) -> None:
        super().started(number, name)
        self._live.refresh()

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        before = self.board.current.phase if self.board.current else None
        super().progress(phase, done, total, figures)
        now = time.monotonic()
        if phase != before or now - self._refreshed >= REFRESH_S:
            self._refreshed = now
            self._live.refresh()

    def ended(self, rows: Sequence[Row], number: int | None) -> None:
        super().ended(rows, number)
        self._live.refresh()

    def render(self) -> RenderableType:
        """The whole picture: head line, the trials that fit, and the running one."""
        board = self.board
        volume = figure(board.hypervolume, 2)
        left = board.left_s()
        head = f"[bold]{escape(board.study)}[/]  {board.done} of {board.total} trials  [dim]{escape(board.about)}[/]"
        foot = f"front's hypervolume {volume} {HYPERVOLUME_UNIT}"
        foot += f"   about {duration(left)} left" if left is not None and board.done < board.total else ""
        # Head, column names, running trial, foot and the cursor's line also need room.
        table = trials_table(board.rows, {row.number for row in board.front}, most=max(3, self.console.height - 8))
        return Group(head, "", table, "", *([self._running()] if board.current else []), foot)

    def _running(self) -> RenderableType:
        current = self.board.current
        assert current is not None
        grid = Table.grid(padding=(0, 2))
        name = f"[bold]{escape(current.label)}[/]"
        left = current.left_s()
        bar = ProgressBar(total=current.total, completed=current.done, width=24) if current.total > 1 else ""
        grid.add_row(name, escape(current.words()), bar, "" if left is None else f"{duration(left)} left")
        return grid


class LogView(_Base):
    """One line per event, for logs and pipes; a training tells itself every half minute."""

    def __init__(self, board: Board, console: Console) -> None:
        super().__init__(board, console)
        self._told = 0.0

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        super().progress(phase, done, total, figures)
        current, now = self.board.current, time.monotonic()
        if current is not None and now - max(self._told, current.started) >= LOG_EVERY_S:
            self._told = now
            left = current.left_s()
            rest = "" if left is None else f", {duration(left)} left"
            self.note(f"{current.label}: {current.words()}{rest}")

    def started(self, number: int, name: str) -> None:
        super().started(number, name)
        if number >= 0:
            self.note(f"trial {number}: {name} starts")

    def ended(self, rows: Sequence[Row], number: int | None) -> None:
        super().ended(rows, number)
        row = next((row for row in rows if row.number == number), None)
        if row is None:
            return
        told = [kind_text(row)]
        if row.psnr_db is not None:
            told.append(f"{row.psnr_db:.2f} dB")
        if row.ssim is not None:
            told.append(f"SSIM {row.ssim:.3f}")
        if row.latency_ms is not None:
            told.append(f"{milliseconds(row)} ms ({figure(row.ratio_to_mo, 2)} x MO)")
        if row.message and row.repeat_of is None:
            told.append(row.message)
        board = self.board
        told.append(f"{board.done} of {board.total} trials")
        told.append(f"hypervolume {figure(board.hypervolume, 2)} {HYPERVOLUME_UNIT}")
        left = board.left_s()
        if left is not None and board.done < board.total:
            told.append(f"about {duration(left)} left")
        self.note(f"trial {row.number} {row.name}: " + ", ".join(told))


def make_view(board: Board, console: Console) -> TableView | LogView:
    """The live table where `console` is a terminal that can move its cursor, else plain lines."""
    can_move = console.is_terminal and not console.is_dumb_terminal
    return TableView(board, console) if can_move else LogView(board, console)
