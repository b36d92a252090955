"""The mean difference of two networks on the same pictures, with its paired bootstrap interval.

Pictures differ far more than networks do, so each picture is compared with itself: the differences
are resampled, not the scores (Efron & Tibshirani, "An Introduction to the Bootstrap", 1993:
percentile intervals). Trainings of one network with other seeds differ too: with several of them
they are resampled as well, each network's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    trainings: int = 1
    """The fewer of both networks' trainings. With one, the interval knows nothing of seeds."""

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

    differences, unit_of, counts = _differences(values, against, scenes)
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


def difference_over_trainings(
    values: Sequence[Sequence[float]],
    against: Sequence[Sequence[float]],
    *,
    scenes: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """As `paired_difference`, of networks that were trained several times each.

    `values` and `against` hold a list of scores, by picture, for each training. Pictures (or
    scenes) are resampled for both networks together, trainings for each by itself. A few trainings
    resampled vary less than other trainings would: by (n - 1) / n, which is made up for, and their
    few degrees of freedom by Student's t in place of the normal distribution. (In simulations
    with 3 trainings each the intervals hold the truth in 96 to 100 % of cases, see
    tests/trials/scoring/test_bootstrap.py.) Raises InputError as `paired_difference`.
    """
    if len(values) == len(against) == 1:
        return paired_difference(
            values[0], against[0], scenes=scenes, resamples=resamples, seed=seed
        )
    means = [np.mean(np.asarray(one, dtype=float), axis=0).tolist() for one in (values, against)]
    ours, theirs = means
    differences, unit_of, counts = _differences(ours, theirs, scenes)
    mean, units = float(differences.mean()), len(counts)
    fewest = min(len(values), len(against))
    if units < 2 or not np.isfinite(differences).all():
        return Difference(mean=mean, low=None, high=None, units=units, trainings=fewest)
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(units, np.full(units, 1 / units), resamples)
    sizes = weights @ counts
    draws = np.zeros(resamples)
    for sign, trainings in ((1.0, values), (-1.0, against)):
        sums = np.stack([np.bincount(unit_of, weights=np.asarray(one)) for one in trainings])
        # Mean over the drawn pictures, resamples x trainings.
        by_training = weights @ sums.T / sizes[:, None]
        draws += sign * by_training.mean(axis=1)
        count = len(trainings)
        if count > 1:
            chosen = rng.multinomial(count, np.full(count, 1 / count), resamples) / count
            off = (chosen * by_training).sum(axis=1) - by_training.mean(axis=1)
            draws += sign * off * np.sqrt(count / (count - 1))
    low, high = np.quantile(draws, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    wider = _student_factor(values, against, (high - low) / 2)
    return Difference(
        mean=mean,
        low=float(mean + (low - mean) * wider),
        high=float(mean + (high - mean) * wider),
        units=units,
        trainings=fewest,
    )


def _differences(
    values: Sequence[float], against: Sequence[float], scenes: Sequence[str] | None
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Picture by picture, the unit that each belongs to, and how many pictures a unit has."""
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
    return differences, unit_of, np.bincount(unit_of).astype(float)


def _student_factor(
    values: Sequence[Sequence[float]], against: Sequence[Sequence[float]], half: float
) -> float:
    """How much wider Student's t is than the normal distribution, for the share of the variance
    that the trainings make; degrees of freedom by Welch and Satterthwaite.
    """
    from scipy.stats import norm, t

    parts = [
        (float(np.var(np.mean(np.asarray(one, dtype=float), axis=1), ddof=1)) / len(one), len(one))
        for one in (values, against)
        if len(one) > 1
    ]
    normal = float(norm.ppf((1 + CONFIDENCE) / 2))
    whole = max((half / normal) ** 2, sum(part for part, _ in parts), 1e-300)
    degrees = whole**2 / max(sum(part**2 / (count - 1) for part, count in parts), 1e-300)
    return float(t.ppf((1 + CONFIDENCE) / 2, max(degrees, 1.0))) / normal
