"""The console that a command prints to, and the progress bar that all of them show."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import Progress, TimeRemainingColumn

PIPED_WIDTH = 120


def make_console(*, piped_width: int = PIPED_WIDTH) -> Console:
    """Standard output; `piped_width` columns wide where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else piped_width, highlight=False)


def progress_bar() -> Progress:
    """A bar on standard error, which vanishes at its end; nothing where that is no terminal."""
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    quiet = not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet)
