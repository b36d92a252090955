"""The view of a long training: a bar in a terminal, else plain lines, and always a log file."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

from rich.markup import escape
from rich.progress import Progress, TimeRemainingColumn

from nas import cli
from nas.view.tables import duration

LOG_EVERY_S = 30.0


class View:
    """Shows a training of `steps` steps; a context."""

    def __init__(self, log: Path, steps: int) -> None:
        self._log_path, self._steps = log, steps
        self._log_file: TextIO | None = None
        self._console = cli.make_console()
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = Progress(
            *Progress.get_default_columns()[:-1],
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._is_live,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("data", total=1)
        self._began = self._last_line = time.monotonic()
        self._first_step = 0

    def __enter__(self) -> View:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        if self._log_file is not None:
            self._log_file.close()

    def note(self, text: str) -> None:
        """Shows and logs a line."""
        self._console.print(escape(text), soft_wrap=True)
        self._log(text)

    def begin(self, step: int) -> None:
        """The training begins at `step`; the time left is estimated from now on."""
        self._began, self._first_step = time.monotonic(), step

    def progress(self, phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        """Progress of the data, the training or an evaluation (trials.Progress)."""
        loss = f"loss {figures['loss']:.4f}" if "loss" in figures else ""
        self._bar.update(self._task, description=f"{phase} {loss}", completed=done, total=total)
        if phase == "train" and time.monotonic() - self._last_line >= LOG_EVERY_S:
            self._line(done, loss, self._log if self._is_live else self.note)

    def row(self, row: Mapping[str, float]) -> None:
        """A row of the curve that has scores."""
        scores = f"{row['psnr_db']:.2f} dB, SSIM {row['ssim']:.4f}"
        self._line(int(row["step"]), f"loss {row['loss']:.4f}, {scores}", self.note)

    def _line(self, step: int, figures: str, write: Callable[[str], None]) -> None:
        now = time.monotonic()
        left = ""
        if self._first_step < step < self._steps:
            pace_s = (now - self._began) / (step - self._first_step)  # with its evaluations
            left = f", {duration(pace_s * (self._steps - step))} left"
        write(f"step {step:,} of {self._steps:,}: {figures}{left}")
        self._last_line = now

    def _log(self, text: str) -> None:
        if self._log_file is None:  # not before the folder is known to be this training's
            self._log_file = self._log_path.open("a", encoding="utf-8", buffering=1)
        now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
        self._log_file.write(f"{now}  {text}\n")
