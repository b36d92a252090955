"""What the scatter plots share: groups of dots with hover texts, error bars and a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.plot import Data, Table
from dashboards.plots.style import BLUE, GRAY, VERMILLION, empty_figure, error_bars
from dashboards.study.records import Record, StudyRecords

# A dot's share of a plot's width: intervals within it would only be clutter.
DOT_SHARE = 1 / 80
COLUMNS = ["name", "kind", "on_front", "psnr_db", "ssim"]
COLUMNS += ["latency_ms", "latency_low_ms", "latency_high_ms"]
COLUMNS += ["ratio_to_mo", "ratio_low", "ratio_high", "parameters", "macs"]
# Of one record: the value, and the ends of its 95 % interval.
Interval = Callable[[Record], tuple[float | None, float | None, float | None]]


@dataclass(frozen=True, kw_only=True)
class PointsData(Data):
    """`points` fastest first (with `on_front`), `stopped` those that were stopped early."""

    points: tuple[Record, ...] = ()
    stopped: tuple[Record, ...] = ()

    def table(self) -> Table:
        """The networks with their objectives, intervals and costs."""
        records = (*self.points, *self.stopped)
        rows = [[one.number, *(getattr(one, name) for name in COLUMNS)] for one in records]
        return ["trial", *COLUMNS], rows


def stopped_records(study: StudyRecords) -> list[Record]:
    """The networks whose training was stopped early, with the PSNR of their last rung."""
    return [
        record
        for record in study.records
        if record.kind == "stopped" and record.repeat_of is None and record.psnr_db is not None
    ]


def draw_points(data: PointsData, interval: Interval, bounds: tuple[float, float]) -> go.Figure:
    """A figure with the dots: the stopped (faint, where there are any), the searched, the front as
    a line, the baselines with their names; x is logarithmic and has these `bounds`.
    """
    figure, points, stopped = empty_figure(), data.points, data.stopped
    figure.update_xaxes(type="log", range=[math.log10(bound) for bound in bounds])
    figure.update_yaxes(title="PSNR on the held-out pairs, dB")
    span = bounds[1] / bounds[0]

    def dots(records: Sequence[Record], name: str, **marker: Any) -> go.Scatter:
        return _dots(records, name, [interval(record) for record in records], span, marker)

    if stopped:
        so_far = "stopped early (PSNR so far)"
        faint = dots(stopped, so_far, color=GRAY, size=6, symbol="circle-open")
        # Drawn beneath the others, but last in the legend.
        figure.add_trace(faint.update(opacity=0.55, legendrank=1100))
    others = [point for point in points if not point.on_front and not point.baseline]
    figure.add_trace(dots(others, "searched", color=GRAY, size=7))
    front = dots([p for p in points if p.on_front], "Pareto front", color=BLUE, size=9)
    front.update(mode="lines+markers", line={"color": BLUE, "width": 2, "shape": "hv"})
    figure.add_trace(front)
    named = [point for point in points if point.baseline]
    names = [point.name for point in named]
    # Names go to the right of their diamonds, but not over the right edge of the plot.
    edge = 0.8 * max((interval(point)[0] or 0.0 for point in points), default=0.0)
    sides = ["left" if (interval(point)[0] or 0.0) > edge else "right" for point in named]
    title = ", ".join(names) or "MO, M1, M2"
    baselines = dots(named, title, color=VERMILLION, size=11, symbol="diamond")
    baselines.update(
        mode="markers+text",
        text=names,
        textposition=[f"bottom {side}" for side in sides],
        textfont={"color": VERMILLION, "size": 14},
    )
    return figure.add_trace(baselines)


def hover_text(point: Record) -> str:
    """A record in a few lines."""
    lines = [f"<b>{point.name}</b> (trial {point.number})", f"{point.psnr_db:.2f} dB"]
    if point.kind == "stopped" and point.rungs:
        lines[-1] += f", stopped at step {point.rungs[-1].step:,}"
    if point.latency_ms is not None:
        lines.append(f"{point.latency_ms:.2f} ms")
        if point.ratio_to_mo is not None:
            lines[-1] += f" ({point.ratio_to_mo:.2f} x MO)"
    if point.parameters is not None and point.macs is not None:
        lines.append(f"{point.parameters:,} parameters, {point.macs / 1e9:.2f} GMAC")
    return "<br>".join(lines)


def none_finished(study: StudyRecords) -> str:
    """The sentence for a study without a network that has both objectives."""
    if not study.ours and study.records:
        return (
            f"Study {study.study} has no networks with a PSNR and a latency: it was not made by "
            "nas.search."
        )
    running = sum(record.kind in ("running", "waiting") for record in study.records)
    return (
        f"Study {study.study} has no finished network yet ({running or 'none'} under way); run "
        f"python -m nas.search --study {study.study}."
    )


def _dots(
    records: Sequence[Record],
    name: str,
    intervals: Sequence[tuple[float | None, float | None, float | None]],
    span: float,
    marker: dict[str, Any],
) -> go.Scatter:
    above, below = [], []
    for value, low, high in intervals:
        bar = value and low and high and math.log(high / low) > DOT_SHARE * math.log(span)
        above.append(high - value if bar and value and high else 0.0)
        below.append(value - low if bar and value and low else 0.0)
    visible = any((*above, *below))
    return go.Scatter(
        x=[value for value, _, _ in intervals],
        y=[record.psnr_db for record in records],
        mode="markers",
        name=name,
        marker=marker,
        error_x=error_bars(above, below, thickness=1, width=2, visible=visible),
        hovertext=[hover_text(record) for record in records],
        hoverinfo="text",
        customdata=[record.number for record in records],
    )
