"""The training curve of a trial (curve.csv: step, loss ...), thinned to what a picture as wide as
a finger shows.
"""

from __future__ import annotations

import csv
import io
import math

# Points of a thinned curve.
POINTS = 60


def loss_curve(text: str) -> list[tuple[int, float]]:
    """(step, loss), at most POINTS of them, the first and the last among them; rows that aren't
    numbers are left out.
    """
    found = []
    for row in csv.DictReader(io.StringIO(text)):
        try:
            step, loss = float(row["step"]), float(row["loss"])
        except (KeyError, TypeError, ValueError):
            continue
        if math.isfinite(step) and math.isfinite(loss):
            found.append((int(step), float(f"{loss:.4g}")))
    if len(found) <= POINTS:
        return found
    return [found[round(index * (len(found) - 1) / (POINTS - 1))] for index in range(POINTS)]
