"""Figures as picture files for papers: kaleido renders them, all in one Chromium of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
import plotly.io

from nas.study import InputError

FORMATS = ("svg", "png")


def write_pictures(pictures: Sequence[tuple[go.Figure, Path]], otherwise: str) -> None:
    """Writes each figure, in its own size, as its .svg or .png says (.png at twice the pixels).

    Raises InputError where kaleido or its browser is missing, or a file can't be written;
    `otherwise` is what to do then.
    """
    try:
        for _, path in pictures:
            path.touch()
            path.unlink()  # so that an old picture can't pass for the new one
    except OSError as error:
        raise InputError(
            f"{path} must be writable, but: {error.strerror}; choose another --out"
        ) from error
    failure: Exception | None = None
    try:
        plotly.io.write_images(
            fig=[figure for figure, _ in pictures],
            file=[path for _, path in pictures],
            width=[figure.layout.width for figure, _ in pictures],
            height=[figure.layout.height for figure, _ in pictures],
            scale=[2 if path.suffix == ".png" else 1 for _, path in pictures],
        )
    except Exception as error:  # of kaleido, its browser, or the system
        failure = error
    missing = [path for _, path in pictures if not path.is_file()]
    if failure or missing:
        path = missing[0] if missing else pictures[0][1]
        reason = " ".join(str(failure or f"{path.name} was not written").split())[:160]
        raise InputError(
            f"{path.suffix.lstrip('.')} pictures need kaleido and Chromium, but: "
            f"{reason.partition('. ')[0] or type(failure).__name__}; run pip install "
            f"'.[pictures]' and install Chromium, or {otherwise}"
        ) from failure
