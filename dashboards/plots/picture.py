"""A figure as a picture file for papers: kaleido draws it in a Chromium of its own."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go

from dashboards.reading import DashboardError

FORMATS = ("svg", "png")


def write_picture(figure: go.Figure, path: Path) -> None:
    """Writes `figure` in its own size as .svg or .png (at twice the pixels); DashboardError where a tool is missing."""
    kind = path.suffix.lstrip(".")
    try:
        figure.write_image(path, scale=2 if kind == "png" else 1)
    except OSError as error:
        raise DashboardError(f"{path} must be writable, but: {error.strerror}; choose another --out") from error
    except Exception as error:
        why = (" ".join(str(error).split())[:160] or type(error).__name__).partition(". ")[0]
        raise DashboardError(f"{kind} pictures need kaleido and Chromium, but: {why}; run pip install '.[pictures]' and "
                             "install Chromium, or give --out front.html") from error  # fmt: skip
