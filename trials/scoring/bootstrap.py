"""The mean difference of two networks on the same pictures, with its paired bootstrap interval.

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
_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The mean difference over the pictures, in the unit of the scores, and its 95 % interval."""

    mean: float
    low: float | None
    """None, like `high`, without an interval: fewer than two units, or not finite."""
    high: float | None
    units: int
    """How many pictures, or scenes, were resampled."""

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
    """`values` minus `against`, picture by picture: the mean and its percentile interval.

    Pictures of one scene resemble each other; with `scenes` (one name a picture) whole scenes are
    resampled, which makes the interval honest where a scene was photographed several times. The
    seed fixes the draws, so all networks are compared on the same ones. Equal scores differ by
    exactly zero, infinite ones too. Raises InputError where the lengths differ or there are no
    pictures.
    """
    from scipy.stats import bootstrap  # takes half a second to load

    ours, theirs = np.asarray(values, dtype=float), np.asarray(against, dtype=float)
    if ours.shape != theirs.shape or ours.ndim != 1 or not ours.size:
        rule = "paired scores must be of the same pictures, at least one"
        sizes = f"there are {ours.size} and {theirs.size}"
        raise InputError(f"{rule}, but {sizes}; score both on one list")
    if scenes is not None and len(scenes) != ours.size:
        sizes = f"{ours.size} pictures and {len(scenes)} scenes"
        raise InputError(f"each picture must have its scene, but there are {sizes}; name them all")
    with np.errstate(invalid="ignore"):
        differences = np.where(ours == theirs, 0.0, ours - theirs)
    names = np.arange(ours.size) if scenes is None else np.asarray(scenes)
    _, unit_of = np.unique(names, return_inverse=True)
    counts = np.bincount(unit_of).astype(float)
    mean, units = float(differences.mean()), len(counts)
    if units < 2 or not np.isfinite(differences).all():
        return Difference(mean=mean, low=None, high=None, units=units)
    means = bootstrap(
        (np.bincount(unit_of, weights=differences), counts),
        lambda sums, counts, axis: sums.sum(axis=axis) / counts.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    ).bootstrap_distribution
    # SciPy's own interval differs in the last bit: it takes percentiles, not quantiles.
    low, high = np.quantile(means, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Difference(mean=mean, low=float(low), high=float(high), units=units)
