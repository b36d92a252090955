"""Follows a training's loss and says when it has come apart."""

from __future__ import annotations

import math

# Losses are smoothed over about this many steps before they are judged.
SMOOTHING_STEPS = 20
# A smoothed loss this many times its lowest, and above where it began, is a training that has come
# apart.
DIVERGED_FACTOR = 3.0


class DivergenceDetector:
    """Follows the loss and says when it has come apart."""

    def __init__(self, smoothing_steps: int = SMOOTHING_STEPS) -> None:
        self.smoothed = math.nan
        self.diverged = False
        """Stays so: whoever goes on from here, in another process too, is told again."""
        self._steps = smoothing_steps
        self._first = math.nan
        self._lowest = math.inf
        self._seen = 0

    def healthy(self, loss: float, gradient_norm: float) -> bool:
        """Takes one step's loss and gradient norm; False if the training has diverged, now or
        before.
        """
        self.diverged = self.diverged or not self._goes_well(loss, gradient_norm)
        return not self.diverged

    def _goes_well(self, loss: float, gradient_norm: float) -> bool:
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return False
        self._seen += 1
        share = max(1 / self._seen, 1 / self._steps)
        self.smoothed = loss if self._seen == 1 else (1 - share) * self.smoothed + share * loss
        if self._seen <= self._steps:
            self._first = self.smoothed
            return True
        self._lowest = min(self._lowest, self.smoothed)
        return self.smoothed <= max(DIVERGED_FACTOR * self._lowest, self._first)
