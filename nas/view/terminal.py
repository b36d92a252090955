"""Views of a running search: a live table in a terminal, plain lines in a log.

Nothing here runs by itself: a thread that refreshed the table would disturb the latency that a
trial measures on the same cores. The table is refreshed when a trial reports progress.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from nas.study.records import Row
from nas.view.state import ALONE, SearchState
from nas.view.tables import duration, figure, kind_text, milliseconds, trials_table

REFRESH_S = 0.25
# With more workers than this the next event comes soon: a new phase needs no refresh of its own.
FEW = 16
LOG_EVERY_S = 30.0
HYPERVOLUME_UNIT = "dB x octaves"


class View(AbstractContextManager["View"]):
    """What displays a search, a context; `worker` is whose event it is where there are several."""

    def __init__(self, state: SearchState) -> None:
        self.state = state

    def __exit__(self, *error: object) -> None:
        self.state.running.clear()

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        """A trial starts; or, with number -1, the loading of the data ("data") or the final timing
        of the front ("front").
        """
        self.state.start(number, name, worker)

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        """The running trial reports progress."""
        if (current := self.state.running.get(worker)) is not None:
            current.progress(phase, done, total, figures)

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        """Trial `number` has ended (None: the data is loaded, or its worker died), and the study
        now holds `rows`.
        """
        self.state.rows = rows
        current = self.state.running.get(worker)
        # A worker may have begun its next trial already.
        if current is not None and number in (None, current.number):
            del self.state.running[worker]

    @abstractmethod
    def note(self, text: str) -> None:
        """A line for the user."""


class _ConsoleView(View):
    def __init__(self, state: SearchState, console: Console) -> None:
        super().__init__(state)
        self.console = console

    def note(self, text: str) -> None:
        self.console.print(escape(text), highlight=False, soft_wrap=True)

    def time_left(self) -> str:
        """ "about 1:05 left"; empty where there is nothing left, or no pace yet."""
        left = self.state.left_s() if self.state.done < self.state.total else None
        return "" if left is None else f"about {duration(left)} left"

    def hypervolume(self) -> str:
        return f"hypervolume {figure(self.state.hypervolume, 2)} {HYPERVOLUME_UNIT}"


class TableView(_ConsoleView):
    """A live table in a terminal."""

    def __init__(self, state: SearchState, console: Console) -> None:
        super().__init__(state, console)
        self._live = Live(
            console=console,
            auto_refresh=False,
            get_renderable=self.render,
            vertical_overflow="crop",
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._refreshed = 0.0

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        self._live.stop()

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        super().started(number, name, worker=worker)
        self._live.refresh()

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        current = self.state.running.get(worker)
        before = current.phase if current else None
        super().progress(phase, done, total, figures, worker=worker)
        self._refresh(at_once=phase != before)

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        super().ended(rows, number, worker=worker)
        self._refresh(at_once=True)

    def _refresh(self, *, at_once: bool) -> None:
        now = time.monotonic()
        if (at_once and self.state.workers <= FEW) or now - self._refreshed >= REFRESH_S:
            self._refreshed = now
            self._live.refresh()

    def render(self) -> RenderableType:
        """The table: head line, the trials that fit, and the running ones."""
        state = self.state
        head = f"[bold]{escape(state.study)}[/]  {state.done} of {state.total} trials  "
        head += f"[dim]{escape(state.about)}[/]"
        left = self.time_left()
        foot = f"front's {self.hypervolume()}{'   ' * bool(left)}{left}"
        # Head, column names, foot and the cursor's line also need room; of that, the running
        # trials take half at most.
        room = self.console.height - 7
        below = min(len(state.running), max(1, room // 2))
        # What runs here has its line below.
        here = {one.number for one in state.running.values()} if state.workers > 1 else set()
        rows = [row for row in state.rows if row.number not in here]
        front = {row.number for row in state.front}
        table = trials_table(rows, front, most=max(3, room - max(1, below)))
        return Group(head, "", table, "", *self._running(below), foot)

    def _running(self, most: int) -> list[RenderableType]:
        grid = Table.grid(padding=(0, 2))
        running = sorted(self.state.running.items())
        # Where not all have room, the last line counts the others.
        lines = running if len(running) <= most else running[: most - 1]
        for worker, current in lines:
            left, bar = current.left_s(), ProgressBar(current.total, current.done, width=24)
            grid.add_row(
                *([] if worker == ALONE else [f"[dim]worker {worker}[/]"]),
                f"[bold]{escape(current.label)}[/]",
                escape(current.words()),
                bar if current.total > 1 else "",
                "" if left is None else f"{duration(left)} left",
            )
        more = len(running) - len(lines)
        return [*([grid] if lines else []), *([f"[dim]{more} more workers[/]"] if more else [])]


class LogView(_ConsoleView):
    """One line per event, for logs and pipes; a training has one every half minute."""

    def __init__(self, state: SearchState, console: Console) -> None:
        super().__init__(state, console)
        self._logged: dict[int, float] = {}

    def progress(
        self, phase: str, done: int, total: int, figures: dict[str, float], *, worker: int = ALONE
    ) -> None:
        super().progress(phase, done, total, figures, worker=worker)
        current, now = self.state.running.get(worker), time.monotonic()
        if current is None:
            return
        if now - max(self._logged.get(worker, 0.0), current.started) >= LOG_EVERY_S:
            self._logged[worker] = now
            left = current.left_s()
            rest = "" if left is None else f", {duration(left)} left"
            self._log(worker, f"{current.label}: {current.words()}{rest}")

    def started(self, number: int, name: str, *, worker: int = ALONE) -> None:
        super().started(number, name, worker=worker)
        if number >= 0:
            self._log(worker, f"trial {number}: {name} starts")

    def ended(self, rows: Sequence[Row], number: int | None, *, worker: int = ALONE) -> None:
        super().ended(rows, number, worker=worker)
        row = next((row for row in rows if row.number == number), None)
        if row is None:
            return
        latency = f"{milliseconds(row)} ms ({figure(row.ratio_to_mo, 2)} x MO)"
        parts = [
            kind_text(row),
            figure(row.psnr_db, 2, " dB") if row.psnr_db is not None else "",
            f"SSIM {row.ssim:.3f}" if row.ssim is not None else "",
            latency if row.latency_ms is not None else "",
            row.message if row.repeat_of is None else "",
            f"{self.state.done} of {self.state.total} trials",
            self.hypervolume(),
            self.time_left(),
        ]
        self._log(worker, f"trial {row.number} {row.name}: {', '.join(filter(None, parts))}")

    def _log(self, worker: int, text: str) -> None:
        self.note(text if worker == ALONE else f"worker {worker}, {text}")


def make_view(state: SearchState, console: Console) -> TableView | LogView:
    """The live table where `console` is a terminal that can move its cursor, else plain lines."""
    can_move = console.is_terminal and not console.is_dumb_terminal
    return TableView(state, console) if can_move else LogView(state, console)
