"""What the scatter plots of networks share: the four groups of dots, their hover text, their error
bars, their table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.plot import Table
from dashboards.plots.style import BLUE, GRAY, VERMILLION
from dashboards.study.records import Record, StudyRecords

# A dot's share of a plot's width: intervals within it would only be clutter.
DOT_SHARE = 1 / 80
Reach = Callable[[Record], tuple[float | None, float | None, float | None]]


def stopped(study: StudyRecords) -> list[Record]:
    """The networks whose training was stopped early: timed, with the PSNR of their last rung."""
    return [
        r
        for r in study.records
        if r.kind == "stopped" and r.repeat_of is None and r.psnr_db is not None
    ]


def add_networks(
    figure: go.Figure,
    points: Sequence[Record],
    stopped: Sequence[Record],
    reach: Reach,
    span: float,
) -> None:
    """Adds the dots: the stopped, faint, where there are any, the searched, the front as a line,
    the seeds named.

    `reach` gives a record's value and the ends of its 95 % interval; `span` is the x axis' highest
    value divided by its lowest, which says what intervals can be seen.
    """
    if stopped:
        faint = _dots(
            stopped,
            "stopped early (PSNR so far)",
            reach,
            span,
            {"color": GRAY, "size": 6, "symbol": "circle-open"},
        )
        faint.update(opacity=0.55, legendrank=1100)  # drawn beneath the others, but told last
        figure.add_trace(faint)
    others = [p for p in points if not p.on_front and not p.baseline]
    trace = _dots(others, "searched", reach, span, {"color": GRAY, "size": 7})
    figure.add_trace(trace)
    front = _dots(
        [p for p in points if p.on_front], "Pareto front", reach, span, {"color": BLUE, "size": 9}
    )
    front.update(mode="lines+markers", line={"color": BLUE, "width": 2, "shape": "hv"})
    figure.add_trace(front)
    named = [p for p in points if p.baseline]
    baselines = _dots(
        named,
        ", ".join(p.name for p in named) or "MO, M1, M2",
        reach,
        span,
        {"color": VERMILLION, "size": 11, "symbol": "diamond"},
    )
    baselines.update(
        mode="markers+text",
        text=[p.name for p in named],
        textposition=_sides(named, reach, points),
        textfont={"color": VERMILLION, "size": 14},
    )
    figure.add_trace(baselines)


def hover(point: Record) -> str:
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


def table_of(points: Sequence[Record]) -> Table:
    """The networks with their objectives, intervals and costs."""
    columns = [
        "trial",
        "name",
        "kind",
        "on_front",
        "psnr_db",
        "ssim",
        "latency_ms",
        "latency_low_ms",
        "latency_high_ms",
        "ratio_to_mo",
        "ratio_low",
        "ratio_high",
        "parameters",
        "macs",
    ]
    rows: list[list[Any]] = [
        [
            p.number,
            p.name,
            p.kind,
            p.on_front,
            p.psnr_db,
            p.ssim,
            p.latency_ms,
            p.latency_low_ms,
            p.latency_high_ms,
            p.ratio_to_mo,
            p.ratio_low,
            p.ratio_high,
            p.parameters,
            p.macs,
        ]
        for p in points
    ]
    return columns, rows


def none_finished(study: StudyRecords) -> str:
    """The sentence for a study without a network that has both objectives."""
    if not study.ours and study.records:
        return (
            f"Study {study.study} has no networks with a PSNR and a latency: it was not made "
            f"by nas.search."
        )
    under_way = sum(r.kind in ("running", "waiting") for r in study.records)
    more = f"{under_way} under way" if under_way else "none under way"
    return (
        f"Study {study.study} has no finished network yet ({more}); run python -m nas.search "
        f"--study {study.study}."
    )


def _sides(named: Sequence[Record], reach: Reach, points: Sequence[Record]) -> list[str]:
    """Names go to the right of their diamonds, but not over the right edge of the plot."""
    furthest = max((value for value, _, _ in map(reach, points) if value is not None), default=0.0)
    return [
        "bottom left" if (reach(p)[0] or 0.0) > 0.8 * furthest else "bottom right" for p in named
    ]


def _dots(
    points: Sequence[Record], name: str, reach: Reach, span: float, marker: dict[str, Any]
) -> go.Scatter:
    reached = [reach(p) for p in points]
    bars: list[tuple[float, float]] = []
    for value, low, high in reached:
        seen = value and low and high and math.log(high / low) > DOT_SHARE * math.log(span)
        bars.append((value - low, high - value) if value and low and high and seen else (0.0, 0.0))
    return go.Scatter(
        x=[value for value, _, _ in reached],
        y=[p.psnr_db for p in points],
        mode="markers",
        name=name,
        marker=marker,
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [up for _, up in bars],
            "arrayminus": [down for down, _ in bars],
            "thickness": 1,
            "width": 2,
            "visible": any(up or down for down, up in bars),
        },
        hovertext=[hover(p) for p in points],
        hoverinfo="text",
        customdata=[p.number for p in points],
    )
