"""Is one network better than another on the same pictures? The mean difference, with its paired
bootstrap interval.

Pictures differ far more than networks do, so each picture is compared with itself: the differences
are resampled, not the scores (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993:
percentile intervals).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from space import InputError

RESAMPLES = 10_000
CONFIDENCE = 0.95
# Resamples that are held in memory at once.
_CHUNK = 500


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean difference over the pictures, in the unit of the scores, and its 95 % interval.

    `low` and `high` are None where there is no interval: fewer than two units, or a difference
    that isn't finite. `units` is how many there were to draw from: pictures, or scenes.
    """

    mean: float
    low: float | None
    high: float | None
    units: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def paired_difference(
    values: Sequence[float],
    against: Sequence[float],
    *,
    scenes: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """`values` minus `against`, picture by picture: the mean, and the percentile interval over
    `resamples` draws.

    Pictures of one scene resemble each other; with `scenes` (one name a picture) whole scenes are
    drawn, which makes the interval honest where a scene was photographed several times. The seed
    fixes the draws, so all networks are compared on the same ones. Equal scores differ by exactly
    zero, infinite ones too. Raises InputError where the lengths differ or there are no pictures.
    """
    ours, theirs = np.asarray(values, dtype=float), np.asarray(against, dtype=float)
    if ours.shape != theirs.shape or ours.ndim != 1 or not ours.size:
        raise InputError(
            f"paired scores must be of the same pictures, at least one, but there are "
            f"{ours.size} and "
            f"{theirs.size}; judge both on one list"
        )
    if scenes is not None and len(scenes) != ours.size:
        raise InputError(
            f"each picture must have its scene, but there are {ours.size} pictures and "
            f"{len(scenes)} "
            "scenes; name every picture's"
        )
    with np.errstate(invalid="ignore"):
        differences = np.where(ours == theirs, 0.0, ours - theirs)
    _, unit_of = np.unique(
        np.arange(ours.size) if scenes is None else np.asarray(scenes), return_inverse=True
    )
    counts = np.bincount(unit_of).astype(float)
    mean, units = float(differences.mean()), len(counts)
    if units < 2 or not np.isfinite(differences).all():
        return Difference(mean=mean, low=None, high=None, units=units)
    sums = np.bincount(unit_of, weights=differences)
    draws = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, _CHUNK):
        part = means[start : start + _CHUNK]
        drawn = draws.integers(0, units, size=(len(part), units))
        part[:] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = (float(bound) for bound in np.quantile(means, (tail, 1 - tail)))
    return Difference(mean=mean, low=low, high=high, units=units)
