"""Figures as picture files for papers: kaleido draws them, all in one Chromium of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import plotly.io

from dashboards.study.reader import DashboardError

FORMATS = ("svg", "png")


def write_pictures(pictures: Sequence[tuple[go.Figure, Path]], otherwise: str) -> None:
    """Writes each figure, in its own size, as its .svg or .png says (.png at twice the pixels).

    Raises DashboardError where kaleido or its browser is missing, or a file can't be written;
    `otherwise` is what to do then.
    """
    try:
        for _, path in pictures:
            path.touch()
            path.unlink()  # so that an old picture can't pass for the new one
    except OSError as error:
        raise DashboardError(
            f"{path} must be writable, but: {error.strerror}; choose another --out"
        ) from error
    try:
        plotly.io.write_images(
            fig=[figure for figure, _ in pictures],
            file=[path for _, path in pictures],
            width=[figure.layout.width for figure, _ in pictures],
            height=[figure.layout.height for figure, _ in pictures],
            scale=[2 if path.suffix == ".png" else 1 for _, path in pictures],
        )
    except Exception as error:  # of kaleido, its browser, or the system
        raise _not_drawn(
            pictures[0][1], " ".join(str(error).split())[:160] or type(error).__name__, otherwise
        ) from error
    for _, path in pictures:
        if not path.is_file():
            raise _not_drawn(path, f"{path.name} was not drawn", otherwise)


def _not_drawn(path: Path, why: str, otherwise: str) -> DashboardError:
    kind = path.suffix.lstrip(".")
    return DashboardError(
        f"{kind} pictures need kaleido and Chromium, but: {why.partition('. ')[0]}; run "
        f"pip install "
        f"'.[pictures]' and install Chromium, or {otherwise}"
    )
