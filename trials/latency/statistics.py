"""Statistics of timings: quantiles, intervals that assume no normality, drift, and ratios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# The share of rounds at either end that is left out of their mean, so that outliers don't count.
TRIMMED = 0.1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Quantiles of single runs, in ms; `low_ms` and `high_ms` bound the median (95 %)."""

    median_ms: float
    low_ms: float
    high_ms: float
    p10_ms: float
    p90_ms: float
    p99_ms: float
    runs: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LatencyRatio:
    """A network's latency over that of a reference, timed in turn with it (A B A B ...).

    Whatever slows both of a pair alike cancels out. Each round (weights and inputs at new places
    in memory) gives the median of its pairs' ratios; `value` is the mean of the rounds without the
    outer tenth at either end, `low` and `high` its 95 % confidence interval over rounds, which
    thus includes the effect of places in memory. `drift` is the share by which the last third of
    the rounds differs from the first.
    """

    value: float
    low: float
    high: float
    rounds: int
    drift: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def summarise(times_ms: Sequence[float]) -> Timing:
    """The quantiles of single runs, in any order."""
    low, high = median_bounds(sorted(times_ms))
    p10, p50, p90, p99 = (float(value) for value in np.quantile(times_ms, (0.1, 0.5, 0.9, 0.99)))
    return Timing(
        median_ms=p50,
        low_ms=low,
        high_ms=high,
        p10_ms=p10,
        p90_ms=p90,
        p99_ms=p99,
        runs=len(times_ms),
    )


def ratio_of_rounds(rounds: Sequence[float]) -> LatencyRatio:
    """The ratio of all rounds, from each round's own (Yuen's interval of a trimmed mean).

    With fewer than six rounds there is no such interval: `low` and `high` are their extremes.
    """
    values = np.asarray(rounds, dtype=float)
    if len(values) < 6 or np.ptp(values) == 0:
        value, low, high = float(np.mean(values)), float(values.min()), float(values.max())
    else:
        from scipy.stats import mstats  # takes most of a second to load

        value = float(mstats.trimmed_mean(values, limits=(TRIMMED, TRIMMED)))
        bounds = mstats.trimmed_mean_ci(values, limits=(TRIMMED, TRIMMED), alpha=0.05)
        low, high = float(bounds[0]), float(bounds[1])
    return LatencyRatio(value=value, low=low, high=high, rounds=len(values), drift=drift(rounds))


def median_bounds(ordered: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median of sorted values, by binomial order statistics.

    With fewer than six values it is their extremes.
    """
    n = len(ordered)
    reach = 0.98 * math.sqrt(n)  # 1.96 standard deviations of Binomial(n, 1/2)
    low, high = math.floor((n - 1) / 2 - reach), math.ceil((n - 1) / 2 + reach)
    return ordered[max(low, 0)], ordered[min(high, n - 1)]


def drift(values: Sequence[float]) -> float:
    """The share by which the median of the last third of the values differs from the first's."""
    third = max(1, len(values) // 3)
    first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
    return abs(last - first) / first
