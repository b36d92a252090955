"""How well a short training orders networks as a long one does: Kendall's tau, and the regret.

Tau counts pairs of networks that both order alike, however little they differ. The regret is what
a user loses: by how many dB the network that looks best after the short training falls short of
the best after the long one. Both also over the networks within 1 dB of the best, where the
decision is. Loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95
# Networks this near to the best, after the long training, are those that a user chooses among.
NEAR_DB = 1.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its 95 % interval (bootstrap over networks); None where undefined."""

    value: float | None
    low: float | None
    high: float | None

    def words(self, decimals: int = 2) -> str:
        """ "0.71 (0.40 to 0.91)"."""
        if self.value is None:
            return "-"
        return f"{self.value:.{decimals}f} ({self.low:.{decimals}f} to {self.high:.{decimals}f})"


def tau_of(values: Array, final: Array) -> Estimate:
    """Kendall's tau-b of two measures (n) over the same networks, higher is better in both."""
    from scipy.stats import kendalltau

    # A pair of a network with itself says nothing: tau-b leaves it out as a tie in both.
    return _estimate(values, final, lambda a, b: float(kendalltau(a, b).statistic))


def regret_of(values: Array, final: Array) -> Estimate:
    """By how much `final` (n) of the network with the highest of `values` (n) is below its best.

    Where several networks share the highest value, the mean of theirs. Never below 0.
    """

    def regret(a: Array, b: Array) -> float:
        # A mean may round to a little above the largest of its values.
        return max(0.0, float(b.max() - b[a == a.max()].mean()))

    return _estimate(values, final, regret)


def near_best(final: Array, near_db: float = NEAR_DB) -> NDArray[np.bool_]:
    """Which networks (n) are within `near_db` of the best."""
    return np.asarray(final >= final.max() - near_db)


def _estimate(values: Array, final: Array, statistic: Callable[[Array, Array], float]) -> Estimate:
    if len(final) < 2:
        return Estimate(value=None, low=None, high=None)
    value = statistic(values, final)
    if not math.isfinite(value):
        return Estimate(value=None, low=None, high=None)
    picks = np.random.default_rng(0).integers(0, len(final), (RESAMPLES, len(final)))
    resampled = [statistic(values[pick], final[pick]) for pick in picks]
    low, high = np.nanpercentile(resampled, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return Estimate(value=value, low=float(low), high=float(high))
