"""How all plots look: templates for light and dark paper, colours, and what plots draw alike.

The colours are near those of Okabe and Ito, distinct with any kind of colour vision, and contrast
with white and with #14181d at 3 to 1. No meaning is carried by colour alone: symbols and dashes
differ too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

BLUE, VERMILLION, GREEN, PURPLE, GRAY = "#1f7fc4", "#d55e00", "#009e73", "#c06a9b", "#808b96"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, GRAY)
PAPER_LIGHT, PAPER_DARK = "#ffffff", "#14181d"
INK_LIGHT, INK_DARK = "#1f2933", "#e4e8ec"
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"


def _template(ink: str, grid: str, axis: str, card: str) -> go.layout.Template:
    line = {
        "gridcolor": grid,
        "linecolor": axis,
        "zerolinecolor": axis,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": axis,
        "ticklen": 4,
        "automargin": True,
        "title": {"standoff": 10},
    }
    font = {"color": ink, "family": FONT}
    legend = {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"}
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": COLOURS,
            "font": {**font, "size": 13},
            "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
            "xaxis": line,
            "yaxis": line,
            "hovermode": "closest",
            "hoverlabel": {"bgcolor": card, "bordercolor": axis, "font": font},
            "legend": legend,
            "annotationdefaults": {"font": {"color": ink}, "showarrow": False},
            "shapedefaults": {"line": {"color": axis}},
        }
    )


LIGHT = _template(INK_LIGHT, "#e6e9ec", "#9aa5b1", "#ffffff")
DARK = _template(INK_DARK, "#2b323a", "#66717d", "#1d232a")


def empty_figure() -> go.Figure:
    """A figure in the light template, with room for nothing but the plot."""
    return go.Figure(layout={"template": LIGHT})


def error_bars(above: Sequence[float], below: Sequence[float], **style: Any) -> dict[str, Any]:
    """Plotly's bars from each value up and down to the ends of its interval."""
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, **style}


def add_line(
    figure: go.Figure, *, x: float | None = None, y: float | None = None, **line: Any
) -> None:
    """A gray line across the plot, at one x or at one y."""
    across = {"x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper"}
    if y is not None:
        across = {"x0": 0, "x1": 1, "xref": "paper", "y0": y, "y1": y}
    figure.add_shape(type="line", line={"color": GRAY, **line}, **across)


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within the bounds of a logarithmic axis; finer where those are under 3."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    decades = [10.0**k for k in range(first, last + 1)]
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [step * decade for decade in decades for step in steps]
        ticks = [float(f"{tick:g}") for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks
