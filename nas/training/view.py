"""A long training, for whoever watches it: a bar in a terminal, plain lines elsewhere and always
in a log file.
"""


from __future__ import annotations

import datetime
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from nas import cli
from nas.view.tables import duration

LOG_EVERY_S = 30.0


class View:
    """Where the training is shown; used as a context."""

    def __init__(self, log: Path, steps: int) -> None:
        self.steps = steps
        self._path = log
        self._file: TextIO | None = None
        self._console = cli.make_console()
        self._moves = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
            TextColumn("{task.fields[told]}"),
            console=self._console,
            transient=True,
            disable=not self._moves,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("data", total=1, told="")
        self._phase, self._began, self._first, self._said = (
            "",
            time.monotonic(),
            0,
            time.monotonic(),
        )

    def __enter__(self) -> View:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if self._file is not None:
            self._file.close()

    def note(self, text: str) -> None:
        """A line for the terminal and the log."""
        self._console.print(escape(text), soft_wrap=True)
        self._log(text)

    def phase(self, name: str, first: int = 0) -> None:
        """Something else begins, at its step `first`; the time left is reckoned from here."""
        self._phase, self._began, self._first = name, time.monotonic(), first
        self._bar.update(self._task, description=name, completed=first, told="")

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        """The data tells how far it is."""
        self._bar.update(self._task, description=phase, completed=done, total=total, told="")

    def tell(self, event: str, done: int, total: int, figures: dict[str, float]) -> None:
        """The training tells something (trials.training.long_loop.Tell)."""
        if event == "evaluate":
            self._bar.update(
                self._task, description="evaluate", completed=done, total=total, told=""
            )
            return
        if event == "checkpoint":
            self._log(f"step {done:,}: checkpoint")
            return
        left = self._left(done)
        rest = f", {duration(left)} left" if left is not None and done < total else ""
        loss = f"loss {figures['loss']:.4f}"
        self._bar.update(
            self._task, description="train", completed=done, total=total, told=f"{loss}{rest}"
        )
        if event == "row":
            self._said = time.monotonic()
            self.note(
                f"step {done:,} of {total:,}: {loss}, {figures['psnr_db']:.2f} dB, SSIM "
                f"{figures['ssim']:.4f}{rest}"
            )
        elif time.monotonic() - self._said >= LOG_EVERY_S:
            self._said = time.monotonic()
            line = f"step {done:,} of {total:,}: {loss}{rest}"
            self._log(line) if self._moves else self.note(line)

    def _left(self, done: int) -> float | None:
        """Seconds until the end, by the pace since this process began; evaluations count in it."""
        seen = done - self._first
        return (time.monotonic() - self._began) / seen * (self.steps - done) if seen > 0 else None

    def _log(self, text: str) -> None:
        if self._file is None:  # not before the folder is known to be this training's
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        self._file.write(f"{now}  {text}\n")
