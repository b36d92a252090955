"""The learning curves of a long training: loss and held-out PSNR over its steps, as CSV and as a
picture.

Drawn with OpenCV, which is there anyway: one panel for the loss on a logarithmic axis, one for
PSNR.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trials.files import replacing

Row = dict[str, float | None]
"""step, loss (smoothed), lr, psnr_db and ssim (None where it was not judged), seconds of training.
"""

COLUMNS = ("step", "loss", "lr", "psnr_db", "ssim", "seconds")
WIDTH, HEIGHT = 1280, 560
# Margins of a panel, pixels: left, right, top, bottom.
LEFT, RIGHT, TOP, BOTTOM = 110, 40, 44, 46
INK, FAINT = (40, 40, 40), (225, 225, 225)
LOSS_COLOUR, PSNR_COLOUR = (31, 119, 180), (214, 96, 20)


def write_curve(path: Path, rows: Sequence[Row]) -> None:
    """Writes the rows as CSV; what is None is empty."""
    with replacing(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(
            {name: "" if row.get(name) is None else row[name] for name in COLUMNS} for row in rows
        )


def draw_curves(path: Path, rows: Sequence[Row]) -> None:
    """Writes the picture of the rows, a PNG of 1280 x 1120 pixels; raises OSError where the disk
    won't take it.
    """
    loss = [(step, math.log10(value)) for step, value in points(rows, "loss") if value > 0]
    upper = _panel("training loss (smoothed; logarithmic)", loss, LOSS_COLOUR, logarithmic=True)
    lower = _panel(
        "PSNR of the held-out pairs, dB (averaged weights)", points(rows, "psnr_db"), PSNR_COLOUR
    )
    right, data = cv2.imencode(".png", np.vstack([upper, lower])[:, :, ::-1])
    if not right:
        raise RuntimeError(f"the picture {path} could not be encoded as PNG")
    with replacing(path) as beside:
        beside.write_bytes(data.tobytes())


def points(rows: Sequence[Row], name: str) -> list[tuple[float, float]]:
    """(step, value) of the rows that have a finite value."""
    found = ((row["step"], row.get(name)) for row in rows)
    return [
        (step, value)
        for step, value in found
        if step is not None and value is not None and math.isfinite(value)
    ]


def ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers (1, 2 or 5 times a power of ten apart) from `low` to `high`."""
    span = max(high - low, 1e-12)
    power = 10.0 ** math.floor(math.log10(span / most))
    apart = next(
        power * factor for factor in (1, 2, 5, 10, 20, 50) if span / (power * factor) <= most - 1
    )
    first = math.ceil(low / apart - 1e-9)
    return [index * apart for index in range(first, math.floor(high / apart + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """At most `most` round numbers from `low` to `high` (both above 0) for a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        found = [
            factor * 10.0**power
            for power in powers
            for factor in factors
            if low <= factor * 10.0**power <= high
        ]
        if 3 <= len(found) <= most:
            return found
    # Less than a decade or so: even steps of the value itself.
    return [value for value in ticks(low, high, most) if value > 0]


def _panel(
    title: str,
    curve: list[tuple[float, float]],
    colour: tuple[int, int, int],
    *,
    logarithmic: bool = False,
) -> NDArray[np.uint8]:
    panel = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    _write(panel, title, LEFT, TOP - 16, 0.65)
    if not curve:
        _write(panel, "none yet", LEFT + 20, TOP + 40, 0.6)
        return panel
    last = max(step for step, _ in curve)
    low, high = min(value for _, value in curve), max(value for _, value in curve)
    room = max(0.05 * (high - low), 0.01)
    low, high = low - room, high + room

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + step / max(last, 1) * (WIDTH - LEFT - RIGHT)
        return across, HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    for value in log_ticks(10**low, 10**high, 9) if logarithmic else ticks(low, high, 7):
        left, down = place(0, math.log10(value) if logarithmic else value)
        _line(panel, [(left, down), (WIDTH - RIGHT, down)], FAINT)
        _write(panel, f"{value:.4g}", LEFT - 12, round(down) + 6, 0.55, ends=True)
    for step in ticks(0, last, 9):
        across, _ = place(step, low)
        _line(panel, [(across, TOP), (across, HEIGHT - BOTTOM)], FAINT)
        _write(panel, f"{step:,.0f}", round(across), HEIGHT - BOTTOM + 26, 0.55, middle=True)
    _line(panel, [(LEFT, TOP), (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], INK)
    placed = [place(step, value) for step, value in curve]
    _line(panel, placed, colour, thickness=2)
    if len(placed) <= 60:
        for across, down in placed:
            cv2.circle(panel, (round(across), round(down)), 4, colour, cv2.FILLED, cv2.LINE_AA)
    return panel


def _line(
    panel: NDArray[np.uint8],
    placed: list[tuple[float, float]],
    colour: tuple[int, int, int],
    thickness: int = 1,
) -> None:
    # OpenCV takes sixteenths of a pixel, with which a curve is smooth.
    at = np.round(np.array(placed) * 16).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(panel, [at], False, colour, thickness, cv2.LINE_AA, shift=4)


def _write(
    panel: NDArray[np.uint8],
    text: str,
    across: int,
    down: int,
    size: float,
    *,
    ends: bool = False,
    middle: bool = False,
) -> None:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    start = across - (width if ends else width // 2 if middle else 0)
    cv2.putText(panel, text, (start, down), cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
