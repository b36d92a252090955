"""How all plots look: two templates, for light and dark paper, and colours that are seen on both
and by everybody.

The colours are near those of Okabe and Ito, told apart with any kind of colour vision, and
darkened or lightened until each stands out from white and from #14181d at 3 to 1. No meaning is
carried by colour alone: symbols and dashes differ too.
"""

from __future__ import annotations

import math

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
    return go.layout.Template(
        layout={
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": COLOURS,
            "font": {"color": ink, "size": 13, "family": FONT},
            "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
            "xaxis": line,
            "yaxis": line,
            "hovermode": "closest",
            "hoverlabel": {
                "bgcolor": card,
                "bordercolor": axis,
                "font": {"color": ink, "family": FONT},
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "xanchor": "left",
                "yanchor": "bottom",
            },
            "annotationdefaults": {"font": {"color": ink}, "showarrow": False},
            "shapedefaults": {"line": {"color": axis}},
        }
    )


LIGHT = _template(INK_LIGHT, "#e6e9ec", "#9aa5b1", "#ffffff")
DARK = _template(INK_DARK, "#2b323a", "#66717d", "#1d232a")


def figure() -> go.Figure:
    """An empty one in the light template, with room for nothing but the plot."""
    return go.Figure(layout={"template": LIGHT})


def ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within the bounds, for a logarithmic axis; finer where that leaves fewer
    than three.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [
            float(f"{step * 10.0**k:g}")
            for k in decades
            for step in steps
            if low <= step * 10.0**k <= high
        ]
        if len(found) >= 3:
            break
    return found
