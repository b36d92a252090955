"""The log of a training, and its learning curve."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trials.files import replacing

COLUMNS = ("step", "loss", "lr", "psnr_db", "ssim", "seconds")

Row = dict[str, float]
"""step, loss (smoothed), lr, seconds of training; psnr_db and ssim at a rung."""


@dataclass
class TrainLog:
    """What a training has done so far, in all processes that it ran in."""

    steps: int = 0
    rows: list[Row] = field(default_factory=list)
    """The learning curve."""
    loss: float = math.nan
    """Training loss, smoothed."""
    seconds: float = 0.0
    """Training alone, without rungs and checkpoints, and without what a kill lost."""
    waited_s: float = 0.0
    """Part of `seconds` that was spent waiting for data."""
    last_rung: int = 0
    """Step of the last rung that was scored."""
    last_evaluation: int = 0
    diverged: bool = False
    stopped: bool = False
    """Ended at a rung before the last step."""


def write_curve(path: Path, rows: Iterable[Mapping[str, float]]) -> None:
    """Writes the rows as CSV with the columns COLUMNS; what a row lacks is empty."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
