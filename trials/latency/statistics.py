"""What timings say: quantiles, intervals that assume no normality, drift, and the ratio of two
networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import mstats

# The share of rounds that is left out at either end before they are averaged: a disturbed one must
# not count.
TRIMMED = 0.1


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Single runs, summed up, in milliseconds. `low_ms` and `high_ms` bound the median with 95 %
    confidence.
    """

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
    """How many times as long as a reference network, timed in turn with it (A B A B ...).

    Whatever slows both of a pair alike cancels out. Each round (weights and inputs at new places
    in memory) gives the median of its pairs' ratios; `value` is the mean of the rounds without the
    outer tenth at either end, `low` and `high` its 95 % confidence interval over rounds, which
    therefore holds what a place in memory does. `drift` is the share by which the last third of
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
    """The quantiles of single runs, in the order in which they were timed or any other."""
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
    """The ratio that rounds agree on, from each round's own (Yuen's interval of a trimmed mean).

    With fewer than six rounds there is no such interval: the smallest and the largest come back.
    """
    values = np.asarray(rounds, dtype=float)
    if len(values) < 6 or np.ptp(values) == 0:
        value, low, high = float(np.mean(values)), float(values.min()), float(values.max())
    else:
        value = float(mstats.trimmed_mean(values, limits=(TRIMMED, TRIMMED)))
        bounds = mstats.trimmed_mean_ci(values, limits=(TRIMMED, TRIMMED), alpha=0.05)
        low, high = float(bounds[0]), float(bounds[1])
    return LatencyRatio(value=value, low=low, high=high, rounds=len(values), drift=drift(rounds))


def median_bounds(ordered: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median of sorted values, from the binomial law of order
    statistics.

    With fewer than six values no such interval exists: the smallest and the largest value come
    back.
    """
    n = len(ordered)
    reach = 0.98 * math.sqrt(n)  # 1.96 standard deviations of Binomial(n, 1/2)
    low, high = math.floor((n - 1) / 2 - reach), math.ceil((n - 1) / 2 + reach)
    return ordered[max(low, 0)], ordered[min(high, n - 1)]


def drift(values: Sequence[float]) -> float:
    """By what share the median of the last third of the values, as they came, differs from that of
    the first.
    """
    third = max(1, len(values) // 3)
    first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
    return abs(last - first) / first
