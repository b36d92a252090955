"""PSNR against measured latency: every network a dot, the Pareto front a line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.plots import points as dots
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.style import GRAY, figure, ticks
from dashboards.study.records import Record, StudyRecords


@dataclass(frozen=True, kw_only=True)
class FrontData(Data):
    """`points` fastest first (with `on_front`), `stopped` those that were stopped early, latencies
    in ms, `timed` how.
    """

    points: tuple[Record, ...] = ()
    stopped: tuple[Record, ...] = ()
    latency_limit_ms: float | None = None
    timed: str = ""

    @property
    def bounds_ms(self) -> tuple[float, float]:
        """Lowest and highest latency of the axis: all networks, and a little room."""
        shown = [p.latency_ms for p in (*self.points, *self.stopped) if p.latency_ms is not None]
        return min(shown) / 1.2, max(shown) * 1.2

    def table(self) -> Table:
        return dots.table_of((*self.points, *self.stopped))


def compute_front(study: StudyRecords) -> FrontData:
    """The networks of `study` and which of them are on the front."""
    points = study.points
    if not points:
        return FrontData(missing=dots.none_finished(study))
    stopped = [r for r in dots.stopped(study) if r.latency_ms is not None]
    return FrontData(
        points=tuple(points),
        stopped=tuple(stopped),
        latency_limit_ms=study.latency_limit_ms,
        timed=study.timed,
        caption=_caption(study, len(stopped)),
    )


def draw_front(data: FrontData) -> go.Figure:
    """The picture, on a logarithmic axis of latency."""
    drawn = figure()
    low, high = data.bounds_ms
    dots.add_networks(
        drawn,
        data.points,
        data.stopped,
        lambda p: (p.latency_ms, p.latency_low_ms, p.latency_high_ms),
        high / low,
    )
    if data.latency_limit_ms is not None:
        # Plotly takes a shape's x in milliseconds but an annotation's in powers of ten, so that
        # add_vline can't do both.
        drawn.add_shape(
            type="line",
            x0=data.latency_limit_ms,
            x1=data.latency_limit_ms,
            y0=0,
            y1=1,
            yref="paper",
            line={"color": GRAY, "dash": "dash"},
        )
        drawn.add_annotation(
            x=math.log10(data.latency_limit_ms),
            y=1,
            yref="paper",
            text="limit",
            showarrow=False,
            xanchor="left",
            yanchor="top",
        )
    drawn.update_xaxes(
        title=f"latency, ms<br><sup>{data.timed}</sup>",
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks(low, high),
    )
    drawn.update_yaxes(title="PSNR on the held-out pairs, dB")
    return drawn


def _caption(study: StudyRecords, stopped: int) -> str:
    front = study.front
    said = [f"{len(study.points)} networks, up and to the left is better."]
    if front:
        first, last = front[0], front[-1]
        said.append(
            f"{len(front)} of them are on the front, from {first.psnr_db:.2f} dB in "
            f"{first.latency_ms:.1f} ms to "
            f"{last.psnr_db:.2f} dB in {last.latency_ms:.1f} ms: no other network is both "
            f"faster and better."
            if len(front) > 1
            else (
                f"One, {first.name}, is better and faster than all others: "
                f"{first.psnr_db:.2f} dB in {first.latency_ms:.1f} ms."
            )
        )
    if study.latency_limit_ms is not None:
        said.append(f"The front is within the limit of {study.latency_limit_ms:g} ms.")
    if stopped:
        said.append(
            "One more was stopped early; its PSNR is what it had reached by then."
            if stopped == 1
            else f"{stopped} more were stopped early; their PSNR is what they had reached by then."
        )
    said.append("Bars are 95 % intervals of the latency, where they are wider than the dot.")
    return " ".join(said)


FRONT = Plot("front", "PSNR against latency", compute_front, draw_front)
