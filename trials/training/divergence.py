"""Detects a training that diverges, by its loss."""

from __future__ import annotations

import math

# The loss is smoothed over about this many steps.
SMOOTHING_STEPS = 20
# Diverged: the smoothed loss is above this many times its lowest, and above where it began.
DIVERGED_FACTOR = 3.0


class DivergenceDetector:
    """Follows the loss of a training. A checkpoint holds all of its attributes."""

    def __init__(self, smoothing_steps: int = SMOOTHING_STEPS) -> None:
        self.smoothed = math.nan
        self.diverged = False
        """Never reset, so that a resumed training stays diverged."""
        self._smoothing_steps = smoothing_steps
        self._first = math.nan
        self._lowest = math.inf
        self._steps = 0

    def update(self, loss: float, grad_norm: float) -> bool:
        """Adds one step; False if the training has diverged, now or before."""
        self.diverged = self.diverged or not self._is_healthy(loss, grad_norm)
        return not self.diverged

    def _is_healthy(self, loss: float, grad_norm: float) -> bool:
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return False
        self._steps += 1
        share = max(1 / self._steps, 1 / self._smoothing_steps)
        self.smoothed = loss if self._steps == 1 else (1 - share) * self.smoothed + share * loss
        if self._steps <= self._smoothing_steps:
            self._first = self.smoothed
            return True
        self._lowest = min(self._lowest, self.smoothed)
        return self.smoothed <= max(DIVERGED_FACTOR * self._lowest, self._first)
