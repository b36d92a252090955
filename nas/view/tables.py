"""The study as tables in a terminal: its trials while it runs, and its front at the end."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.table import Table
from rich.text import Text

from nas.study.records import Row
from space import BASELINES

ON_FRONT = "●"
_STYLES = {
    "complete": "",
    "stopped": "dim",
    "over_limit": "yellow",
    "diverged": "red",
    "out_of_memory": "red",
    "error": "red",
}


def duration(seconds: float) -> str:
    """Seconds as minutes and seconds ("1:05"), with hours where there are any ("2:00:07")."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def figure(value: float | None, decimals: int, unit: str = "") -> str:
    """A number with its decimals and unit, or a dash where there is none."""
    return "-" if value is None else f"{value:.{decimals}f}{unit}"


def milliseconds(row: Row) -> str:
    """The latency in ms, with a "~" before it where it was not steady while it was timed."""
    return ("" if row.steady else "~") + figure(row.latency_ms, 2)


def kind_text(row: Row) -> str:
    """What became of a trial, in words."""
    words = row.kind.replace("_", " ")
    return words if row.repeat_of is None else f"repeat of {row.repeat_of}"


def trials_table(rows: Sequence[Row], front: Collection[int], *, most: int | None = None) -> Table:
    """The trials in the order of their numbers, those on the front marked; with `most`, the last
    so many.

    Queued trials are not shown, and neither are attempts that were killed and queued again.
    """
    shown = [row for row in rows if row.kind not in ("waiting", "interrupted")]
    hidden = 0 if most is None else max(0, len(shown) - most)
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for name in ("", "trial", "name"):
        table.add_column(name, no_wrap=True)
    for name in ("PSNR dB", "SSIM", "latency ms", "x MO"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    if hidden:
        table.add_row("", "...", f"{hidden} earlier", style="dim")
    for row in shown[hidden:]:
        said = kind_text(row)
        if row.message and row.repeat_of is None and row.kind != "complete":
            said += f": {row.message}"
        if row.kind == "complete" and row.repeat_of is None:
            said = ""
        table.add_row(
            Text(ON_FRONT, style="green") if row.number in front else "",
            str(row.number),
            _name(row),
            figure(row.psnr_db, 2),
            figure(row.ssim, 3),
            milliseconds(row),
            figure(row.ratio_to_mo, 2),
            Text(said, overflow="ellipsis", no_wrap=True),
            style="dim"
            if row.repeat_of is not None or row.kind == "running"
            else _STYLES.get(row.kind, "dim"),
        )
    return table


def front_table(front: Sequence[Row], rows: Sequence[Row]) -> Table:
    """The front, fastest first, with the seeds marked; seeds that aren't on it follow, for
    comparison.
    """
    numbers = {row.number for row in front}
    beside = [
        row
        for row in rows
        if row.baseline
        and row.kind == "complete"
        and row.number not in numbers
        and row.repeat_of is None
    ]
    table = Table(
        title="Pareto front, fastest first",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for name in ("trial", "PSNR dB", "SSIM", "latency ms", "x MO", "parameters", "GMAC"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in [*front, *beside]:
        on_front = row.number in numbers
        table.add_row(
            ON_FRONT if on_front else "",
            _name(row),
            str(row.number),
            figure(row.psnr_db, 2),
            figure(row.ssim, 3),
            milliseconds(row),
            figure(row.ratio_to_mo, 2),
            "-" if row.parameters is None else f"{row.parameters:,}",
            figure(None if row.macs is None else row.macs / 1e9, 2),
            style="" if on_front else "dim",
        )
    return table


def _name(row: Row) -> Text:
    return (
        Text(f"{row.name} (baseline)", style="bold cyan") if row.baseline in BASELINES else Text(row.name)
    )
