"""PSNR against the latency ratio to MO, in octaves: how much faster than the published network,
wherever it runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.plots import points as dots
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.style import GRAY, figure
from dashboards.study.records import Record, StudyRecords


@dataclass(frozen=True, kw_only=True)
class RatioData(Data):
    """`points` (fastest first) and `stopped` networks that were timed in turn with MO."""

    points: tuple[Record, ...] = ()
    stopped: tuple[Record, ...] = ()

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest ratio of the axis; MO's 1 is always in it."""
        shown = [
            1.0,
            *(p.ratio_to_mo for p in (*self.points, *self.stopped) if p.ratio_to_mo is not None),
        ]
        return min(shown) / 1.2, max(shown) * 1.2

    def table(self) -> Table:
        return dots.table_of((*self.points, *self.stopped))


def compute_ratio(study: StudyRecords) -> RatioData:
    """The networks of `study` that have a ratio to MO."""
    if not study.points:
        return RatioData(missing=dots.none_finished(study))
    points = tuple(p for p in study.points if p.ratio_to_mo)
    if not points:
        return RatioData(
            missing="No network was timed in turn with MO, so that there is no ratio to it."
        )
    stopped = tuple(p for p in dots.stopped(study) if p.ratio_to_mo)
    return RatioData(points=points, stopped=stopped, caption=_caption(points))


def draw_ratio(data: RatioData) -> go.Figure:
    """The picture; on its axis each tick is half or twice the one before."""
    drawn = figure()
    low, high = data.bounds
    drawn.add_shape(
        type="line",
        x0=1,
        x1=1,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": GRAY, "dash": "dot", "width": 1},
    )
    dots.add_networks(
        drawn,
        data.points,
        data.stopped,
        lambda p: (p.ratio_to_mo, p.ratio_low, p.ratio_high),
        high / low,
    )
    values, words = octaves(low, high)
    drawn.update_xaxes(
        title="latency, times MO's",
        type="log",
        tickvals=values,
        ticktext=words,
        range=[math.log10(low), math.log10(high)],
    )
    drawn.update_yaxes(title="PSNR on the held-out pairs, dB")
    return drawn


def octaves(low: float, high: float) -> tuple[list[float], list[str]]:
    """The ticks between two ratios, 1/4, 1/2, 1, 2 ..., and how they are written."""
    powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
    return [2.0**k for k in powers], [str(2**k) if k >= 0 else f"1/{2**-k}" for k in powers]


def _caption(points: tuple[Record, ...]) -> str:
    faster = [p for p in points if (p.ratio_to_mo or 1.0) < 1 and p.baseline != "MO"]
    said = [
        f"{len(faster)} of {len(points)} networks {'is' if len(faster) == 1 else 'are'} "
        f"faster than MO (left of 1)."
    ]
    mo = next((p for p in points if p.baseline == "MO"), None)
    if mo is not None:
        beat = [p for p in faster if (p.psnr_db or 0.0) > (mo.psnr_db or 0.0)]
        said.append(
            (
                f"{len(beat) or 'None'} of those also restore{'s' * (len(beat) == 1)} better "
                f"than MO's {mo.psnr_db:.2f} dB"
            )
            + (f", the fastest in {beat[0].ratio_to_mo:.2f} times its latency." if beat else ".")
        )
    said.append(
        "Each tick is half or twice the latency. Bars are 95 % intervals of the ratio, "
        "where they are wider than the dot."
    )
    return " ".join(said)


RATIO = Plot("ratio", "PSNR against latency in units of MO's", compute_ratio, draw_ratio)
