"""PSNR against measured latency: every network a dot, the Pareto front a line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.plots.plot import Plot
from dashboards.plots.points import PointsData, draw_points, none_finished, stopped_records
from dashboards.plots.style import add_line, log_ticks
from dashboards.study.records import StudyRecords


@dataclass(frozen=True, kw_only=True)
class FrontData(PointsData):
    """The networks with a latency; `timed` is frame and device of the latencies in words."""

    latency_limit_ms: float | None = None
    timed: str = ""

    @property
    def bounds_ms(self) -> tuple[float, float]:
        """Lowest and highest latency of the axis: all networks, and a little room."""
        records = (*self.points, *self.stopped)
        latencies = [one.latency_ms for one in records if one.latency_ms is not None]
        return min(latencies) / 1.2, max(latencies) * 1.2


def compute_front(study: StudyRecords) -> FrontData:
    """The networks of `study` and which of them are on the front."""
    if not study.points:
        return FrontData(missing=none_finished(study))
    stopped = [record for record in stopped_records(study) if record.latency_ms is not None]
    return FrontData(
        points=tuple(study.points),
        stopped=tuple(stopped),
        latency_limit_ms=study.latency_limit_ms,
        timed=study.timed,
        caption=_caption(study, len(stopped)),
    )


def draw_front(data: FrontData) -> go.Figure:
    """The plot, on a logarithmic axis of latency."""
    figure = draw_points(
        data,
        lambda record: (record.latency_ms, record.latency_low_ms, record.latency_high_ms),
        data.bounds_ms,
    )
    if data.latency_limit_ms is not None:
        # Plotly takes a shape's x in milliseconds but an annotation's in powers of ten, so that
        # add_vline can't do both.
        add_line(figure, x=data.latency_limit_ms, dash="dash")
        figure.add_annotation(
            x=math.log10(data.latency_limit_ms),
            y=1,
            yref="paper",
            text="limit",
            showarrow=False,
            xanchor="left",
            yanchor="top",
        )
    title = f"latency, ms<br><sup>{data.timed}</sup>"
    return figure.update_xaxes(title=title, tickvals=log_ticks(*data.bounds_ms))


def _caption(study: StudyRecords, stopped: int) -> str:
    front = study.front
    sentences = [f"{len(study.points)} networks, up and to the left is better."]
    if front:
        ends = [
            f"{one.psnr_db:.2f} dB in {one.latency_ms:.1f} ms" for one in (front[0], front[-1])
        ]
        sentences.append(
            f"{len(front)} of them are on the front, from {ends[0]} to {ends[1]}: no other "
            "network is both faster and better."
            if len(front) > 1
            else f"One, {front[0].name}, is better and faster than all others: {ends[0]}."
        )
    if study.latency_limit_ms is not None:
        sentences.append(f"The front is within the limit of {study.latency_limit_ms:g} ms.")
    if stopped:
        sentences.append(
            "One more was stopped early; its PSNR is what it had reached by then."
            if stopped == 1
            else f"{stopped} more were stopped early; their PSNR is what they had reached by then."
        )
    sentences.append("Bars are 95 % intervals of the latency, where they are wider than the dot.")
    return " ".join(sentences)


FRONT = Plot("front", "PSNR against latency", compute_front, draw_front)
