"""PSNR against the latency ratio to MO, in octaves: how much faster than the published network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.plots.plot import Plot
from dashboards.plots.points import PointsData, draw_points, none_finished, stopped_records
from dashboards.plots.style import add_line
from dashboards.study.records import Record, StudyRecords


@dataclass(frozen=True, kw_only=True)
class RatioData(PointsData):
    """The networks that were timed in turn with MO."""

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest ratio of the axis; MO's 1 is always in it."""
        ratios = [1.0, *(one.ratio_to_mo or 1.0 for one in (*self.points, *self.stopped))]
        return min(ratios) / 1.2, max(ratios) * 1.2


def compute_ratio(study: StudyRecords) -> RatioData:
    """The networks of `study` that have a ratio to MO."""
    if not study.points:
        return RatioData(missing=none_finished(study))
    points = tuple(point for point in study.points if point.ratio_to_mo)
    if not points:
        return RatioData(missing="No network was timed in turn with MO: there is no ratio to it.")
    stopped = tuple(record for record in stopped_records(study) if record.ratio_to_mo)
    return RatioData(points=points, stopped=stopped, caption=_caption(points))


def draw_ratio(data: RatioData) -> go.Figure:
    """The plot; on its axis each tick is half or twice the one before."""
    figure = draw_points(
        data, lambda record: (record.ratio_to_mo, record.ratio_low, record.ratio_high), data.bounds
    )
    add_line(figure, x=1, dash="dot", width=1)
    ticks, labels = octave_ticks(*data.bounds)
    return figure.update_xaxes(title="latency, times MO's", tickvals=ticks, ticktext=labels)


def octave_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    """The ticks between two ratios, 1/4, 1/2, 1, 2 ..., and their labels."""
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    return [2.0**k for k in powers], [str(2**k) if k >= 0 else f"1/{2**-k}" for k in powers]


def _caption(points: tuple[Record, ...]) -> str:
    faster = [p for p in points if (p.ratio_to_mo or 1.0) < 1 and p.baseline != "MO"]
    sentences = [
        f"{len(faster)} of {len(points)} networks {'is' if len(faster) == 1 else 'are'} faster "
        "than MO (left of 1)."
    ]
    mo = next((point for point in points if point.baseline == "MO"), None)
    if mo is not None:
        both = [point for point in faster if (point.psnr_db or 0.0) > (mo.psnr_db or 0.0)]
        fastest = f", the fastest in {both[0].ratio_to_mo:.2f} times its latency" if both else ""
        sentences.append(
            f"{len(both) or 'None'} of those also restore{'s' * (len(both) == 1)} better than "
            f"MO's {mo.psnr_db:.2f} dB{fastest}."
        )
    sentences.append(
        "Each tick is half or twice the latency. Bars are 95 % intervals of the ratio, where they "
        "are wider than the dot."
    )
    return " ".join(sentences)


RATIO = Plot("ratio", "PSNR against latency in units of MO's", compute_ratio, draw_ratio)
