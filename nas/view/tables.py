"""The study as tables in a terminal: its trials while it runs, and its front at the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table
from rich.text import Text

from nas.study.records import Row
from space import BASELINES

ON_FRONT = "●"
_FAILED = ("diverged", "out_of_memory", "error")


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds ("1:05"), with hours where there are any ("2:00:07")."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def figure(value: float | None, decimals: int, unit: str = "") -> str:
    """A number with its decimals and unit, or a dash where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}{unit}"


def milliseconds(row: Row) -> str:
    """The latency in ms, with a "~" before it where it drifted while it was timed."""
    return ("" if row.steady else "~") + figure(row.latency_ms, 2)


def kind_text(row: Row) -> str:
    """A trial's kind, in words."""
    words = row.kind.replace("_", " ")
    return words if row.repeat_of is None else f"repeat of {row.repeat_of}"


def plain_table(
    left: Sequence[str], right: Sequence[str] = (), *, title: str | None = None
) -> Table:
    """A table without lines: columns aligned left, then right, none of them wrapped."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    table.box, table.pad_edge = None, False
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def trials_table(rows: Sequence[Row], front: Collection[int], *, most: int | None = None) -> Table:
    """The trials by number, those on the front marked; with `most`, the last so many.

    Queued trials are left out, and so are attempts that were killed and queued again.
    """
    rows = [row for row in rows if row.kind not in ("waiting", "interrupted")]
    hidden = 0 if most is None else max(0, len(rows) - most)
    table = plain_table(("", "trial", "name"), ("PSNR dB", "SSIM", "latency ms", "x MO"))
    table.add_column("")
    if hidden:
        table.add_row("", "...", f"{hidden} earlier", style="dim")
    for row in rows[hidden:]:
        is_first = row.repeat_of is None
        kind = "" if is_first and row.kind == "complete" else kind_text(row)
        if kind and is_first and row.message:
            kind += f": {row.message}"
        style = "dim"
        if is_first and row.kind in ("complete", "over_limit", *_FAILED):
            style = {"complete": "", "over_limit": "yellow"}.get(row.kind, "red")
        table.add_row(
            Text(ON_FRONT, style="green") if row.number in front else "",
            str(row.number),
            _name(row),
            *_figures(row),
            Text(kind, overflow="ellipsis", no_wrap=True),
            style=style,
        )
    return table


def front_table(front: Sequence[Row], rows: Sequence[Row]) -> Table:
    """The front, fastest first, with the baselines marked; those that aren't on it follow."""
    numbers = {row.number for row in front}
    baselines = (row for row in rows if row.baseline and row.repeat_of is None)
    others = [row for row in baselines if row.kind == "complete" and row.number not in numbers]
    columns = ("trial", "PSNR dB", "SSIM", "latency ms", "x MO", "parameters", "GMAC")
    table = plain_table(("", "name"), columns, title="Pareto front, fastest first")
    for row in [*front, *others]:
        on_front = row.number in numbers
        table.add_row(
            ON_FRONT if on_front else "",
            _name(row),
            str(row.number),
            *_figures(row),
            "-" if row.parameters is None else f"{row.parameters:,}",
            figure(None if row.macs is None else row.macs / 1e9, 2),
            style="" if on_front else "dim",
        )
    return table


def _figures(row: Row) -> tuple[str, str, str, str]:
    ratio = figure(row.ratio_to_mo, 2)
    return figure(row.psnr_db, 2), figure(row.ssim, 3), milliseconds(row), ratio


def _name(row: Row) -> Text:
    if row.baseline in BASELINES:
        return Text(f"{row.name} (baseline)", style="bold cyan")
    return Text(row.name)
