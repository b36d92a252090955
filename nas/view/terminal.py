"""The running search, for whoever watches it: a live table in a terminal, plain lines in a log.

Nothing here runs by itself: no thread refreshes the table, since it would disturb the latency that
a trial measures on the same cores. The table moves when a trial tells its progress.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from nas.study.records import Row
from nas.view.state import ALONE, SearchState
from nas.view.tables import duration, figure, kind_text, milliseconds, trials_table

REFRESH_S = 0.25
# With more workers than this the next event comes soon, and a new phase needs no picture of its
# own.
FEW = 16
LOG_EVERY_S = 30.0
HYPERVOLUME_UNIT = "dB x octaves"


class View(Protocol):
    """Where the search is shown; used as a context. `worker` is who tells, where there are
    several.
    """

    board: SearchState

    def __enter__(self) -> View: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        """A trial starts; or the data is made ("data") or the front timed again ("front"), whose
        number is -1.
        """

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        """The running trial tells how far it is."""

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        """Trial `number` has ended (None: the data is ready, or its worker died), and the study
        now holds `rows`.
        """

    def note(self, text: str) -> None:
        """Something to know, one line."""


class _Base:
    def __init__(self, board: SearchState, console: Console) -> None:
        self.board, self.console = board, console

    def __enter__(self) -> _Base:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.board.running.clear()

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        self.board.start(number, name, worker)

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        if (current := self.board.running.get(worker)) is not None:
            current.progress(phase, done, total, figures)

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        self.board.rows = rows
        current = self.board.running.get(worker)
        if current is not None and number in (
            None,
            current.number,
        ):  # a worker may have its next one already
            del self.board.running[worker]

    def note(self, text: str) -> None:
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def who(self, worker: int) -> str:
        """What begins a line about a worker; nothing where there is only one."""
        return f"worker {worker}, " if worker != ALONE else ""


class TableView(_Base):
    """A table that moves, in a terminal."""

    def __init__(self, board: SearchState, console: Console) -> None:
        super().__init__(board, console)
        self._live = Live(
            console=console,
            auto_refresh=False,
            get_renderable=self.render,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._refreshed = 0.0

    def __enter__(self) -> TableView:
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self._live.stop()

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        super().started(number, name, worker=worker)
        self._live.refresh()

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        current = self.board.running.get(worker)
        before = current.phase if current else None
        super().progress(phase, done, total, figures, worker=worker)
        now = time.monotonic()
        if (phase != before and self.board.workers <= FEW) or now - self._refreshed >= REFRESH_S:
            self._refreshed = now
            self._live.refresh()

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        super().ended(rows, number, worker=worker)
        if self.board.workers <= FEW or time.monotonic() - self._refreshed >= REFRESH_S:
            self._refreshed = time.monotonic()
            self._live.refresh()

    def render(self) -> RenderableType:
        """The whole picture: head line, the trials that fit, and the running ones."""
        board = self.board
        volume = figure(board.hypervolume, 2)
        left = board.left_s()
        head = (
            f"[bold]{escape(board.study)}[/]  {board.done} of {board.total} trials  "
            f"[dim]{escape(board.about)}[/]"
        )
        foot = f"front's hypervolume {volume} {HYPERVOLUME_UNIT}"
        foot += (
            f"   about {duration(left)} left"
            if left is not None and board.done < board.total
            else ""
        )
        # Head, column names, foot and the cursor's line also need room; of that, the running
        # trials take half at most.
        room = self.console.height - 7
        below = min(len(board.running), max(1, room // 2))
        # What runs here has its line below.
        here = {one.number for one in board.running.values()} if board.workers > 1 else set()
        rows = [row for row in board.rows if row.number not in here]
        table = trials_table(
            rows, {row.number for row in board.front}, most=max(3, room - max(1, below))
        )
        return Group(head, "", table, "", *self._running(below), foot)

    def _running(self, most: int) -> list[RenderableType]:
        grid = Table.grid(padding=(0, 2))
        running = sorted(self.board.running.items())
        # Where not all have room, the last line counts the others.
        shown = running if len(running) <= most else running[: most - 1]
        for worker, current in shown:
            left = current.left_s()
            bar = (
                ProgressBar(total=current.total, completed=current.done, width=24)
                if current.total > 1
                else ""
            )
            who = [] if worker == ALONE else [f"[dim]worker {worker}[/]"]
            grid.add_row(
                *who,
                f"[bold]{escape(current.label)}[/]",
                escape(current.words()),
                bar,
                "" if left is None else f"{duration(left)} left",
            )
        more = len(running) - len(shown)
        return [*([grid] if shown else []), *([f"[dim]{more} more workers[/]"] if more else [])]


class LogView(_Base):
    """One line per event, for logs and pipes; a training tells itself every half minute."""

    def __init__(self, board: SearchState, console: Console) -> None:
        super().__init__(board, console)
        self._told: dict[int, float] = {}

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        super().progress(phase, done, total, figures, worker=worker)
        current, now = self.board.running.get(worker), time.monotonic()
        if (
            current is not None
            and now - max(self._told.get(worker, 0.0), current.started) >= LOG_EVERY_S
        ):
            self._told[worker] = now
            left = current.left_s()
            rest = "" if left is None else f", {duration(left)} left"
            self.note(f"{self.who(worker)}{current.label}: {current.words()}{rest}")

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        super().started(number, name, worker=worker)
        if number >= 0:
            self.note(f"{self.who(worker)}trial {number}: {name} starts")

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        super().ended(rows, number, worker=worker)
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
        self.note(f"{self.who(worker)}trial {row.number} {row.name}: " + ", ".join(told))


def make_view(board: SearchState, console: Console) -> TableView | LogView:
    """The live table where `console` is a terminal that can move its cursor, else plain lines."""
    can_move = console.is_terminal and not console.is_dumb_terminal
    return TableView(board, console) if can_move else LogView(board, console)
