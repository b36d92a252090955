"""A training's curve as a small picture (SVG): the loss against steps, and PSNR at its rungs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.outputs.drawing import GRAY, INK, svg

BLUE, ORANGE = "#2563eb", "#d9480f"
# Pixels: the picture, and its plot's left, top, right and bottom edges.
WIDTH, HEIGHT = 420, 150
LEFT, TOP, RIGHT, BOTTOM = 52, 22, 366, 122


def read_curve(path: Path) -> list[tuple[int, float]]:
    """(step, loss) of a curve.csv, finite and positive ones; empty where there is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(float(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return []
    finite = (row for row in rows if all(map(math.isfinite, row)))
    return [(int(step), loss) for step, loss in finite if loss > 0]


def draw_curve(curve: Sequence[tuple[int, float]], rungs: Sequence[Mapping[str, Any]] = ()) -> str:
    """One <svg> of at least two (step, loss > 0), logarithmic; `rungs` as a trial stores them."""
    losses = [(step, math.log10(loss)) for step, loss in curve]
    scores = [
        (int(rung["step"]), float(rung["psnr_db"]))
        for rung in rungs
        if rung.get("psnr_db") is not None
    ]
    last = max(step for step, _ in (*losses, *scores))
    points, low, high = _points(losses, last)
    body = [f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>']
    for value, y in ((high, TOP + 8), (low, BOTTOM)):
        body.append(_text(LEFT - 5, y, f"{10**value:.2g}", BLUE, "end"))
    body.append(_text(LEFT, TOP - 8, "loss", BLUE))
    if scores:
        points, worst, best = _points(scores, last)
        stroke = f'stroke="{ORANGE}" stroke-width="1.5" stroke-dasharray="4 3"'
        body.append(f'<polyline points="{points}" fill="none" {stroke}/>')
        for x, height in (point.split(",") for point in points.split()):
            body.append(f'<circle cx="{x}" cy="{height}" r="3.5" fill="{ORANGE}"/>')
        for value, y in {best: TOP + 8, worst: BOTTOM}.items():
            body.append(_text(RIGHT + 5, y, f"{value:.2f}", ORANGE))
        body.append(_text(RIGHT, TOP - 8, "PSNR, dB", ORANGE, "end"))
    body.append(_text(LEFT, BOTTOM + 16, "0", INK, "middle"))
    body.append(_text(RIGHT, BOTTOM + 16, f"{last} steps", INK, "middle"))
    axes = f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="{GRAY}"/>'
    return svg(WIDTH, HEIGHT, [axes, *body], title="learning curve")


def _points(values: Sequence[tuple[int, float]], last: int) -> tuple[str, float, float]:
    """A polyline's points, and the lowest and highest value."""
    low, high = (limit(value for _, value in values) for limit in (min, max))
    x_scale, y_scale = (RIGHT - LEFT) / last, (BOTTOM - TOP) / ((high - low) or 1.0)
    points = (
        f"{LEFT + x_scale * step:.1f},{BOTTOM - y_scale * (value - low):.1f}"
        for step, value in values
    )
    return " ".join(points), low, high


def _text(x: float, y: float, words: str, fill: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{fill}" text-anchor="{anchor}">{words}</text>'
