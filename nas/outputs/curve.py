"""A training's curve as a small picture (SVG): the loss against steps, and PSNR where it was
judged on the way.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.outputs.drawing import GRAY, INK

BLUE, ORANGE = "#2563eb", "#d9480f"
# Pixels: the picture, and its plot's left, top, right and bottom edges.
WIDTH, HEIGHT = 420, 150
LEFT, TOP, RIGHT, BOTTOM = 52, 22, 366, 122


def read_curve(path: Path) -> list[tuple[int, float]]:
    """(step, loss) of a trial's curve.csv, without what is no number; empty where there is none."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(float(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return []
    return [
        (int(step), loss)
        for step, loss in rows
        if math.isfinite(loss) and loss > 0 and math.isfinite(step)
    ]


def draw_curve(curve: Sequence[tuple[int, float]], rungs: Sequence[Mapping[str, Any]] = ()) -> str:
    """One <svg> element: `curve` is (step, loss > 0), at least two, on a logarithmic axis; `rungs`
    as in nas/study/store.py.
    """
    judged = [
        (int(rung["step"]), float(rung["psnr_db"]))
        for rung in rungs
        if rung.get("psnr_db") is not None
    ]
    last = max([step for step, _ in curve] + [step for step, _ in judged])
    low, high = (math.log10(f(loss for _, loss in curve)) for f in (min, max))
    body = [
        f'<polyline points="{_points(curve, last, low, high, log=True)}" fill="none" '
        f'stroke="{BLUE}" stroke-width="1.5"/>'
    ]
    body += [
        _text(LEFT - 5, y, f"{10**value:.2g}", BLUE, "end")
        for value, y in ((high, TOP + 8), (low, BOTTOM))
    ]
    body.append(_text(LEFT, TOP - 8, "loss", BLUE))
    if judged:
        worst, best = min(psnr_db for _, psnr_db in judged), max(psnr_db for _, psnr_db in judged)
        points = _points(judged, last, worst, best, log=False)
        body.append(
            f'<polyline points="{points}" fill="none" stroke="{ORANGE}" '
            f'stroke-width="1.5" stroke-dasharray="4 3"/>'
        )
        body += [
            f'<circle cx="{x}" cy="{y}" r="3.5" fill="{ORANGE}"/>'
            for x, y in (point.split(",") for point in points.split())
        ]
        body += [
            _text(RIGHT + 5, y, f"{value:.2f}", ORANGE)
            for value, y in {best: TOP + 8, worst: BOTTOM}.items()
        ]
        body.append(_text(RIGHT, TOP - 8, "PSNR, dB", ORANGE, "end"))
    body += [
        _text(LEFT, BOTTOM + 16, "0", INK, "middle"),
        _text(RIGHT, BOTTOM + 16, f"{last} steps", INK, "middle"),
    ]
    axes = f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="{GRAY}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11">\n<title>learning curve</title>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{axes}\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _points(
    values: Sequence[tuple[int, float]], last: int, low: float, high: float, *, log: bool
) -> str:
    spread = (high - low) or 1.0
    return " ".join(
        f"{LEFT + (RIGHT - LEFT) * step / last:.1f},"
        f"{BOTTOM - (BOTTOM - TOP) * ((math.log10(value) if log else value) - low) / spread:.1f}"
        for step, value in values
    )


def _text(x: float, y: float, words: str, fill: str, anchor: str = "start") -> str:
    return f'<text x="{x}" y="{y}" fill="{fill}" text-anchor="{anchor}">{words}</text>'
