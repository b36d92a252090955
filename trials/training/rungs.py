"""The rungs of a training: steps at which it is judged on its way, on averaged weights, and may be
stopped.

They lie a factor of three apart and end with the last step, so that a training that is stopped at
the lowest has cost a few hundredths of a whole one (Li et al., "A System for Massively Parallel
Hyperparameter Tuning", 2020). What is decided there is not known here: the caller is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from space import InputError

FACTOR = 3
# Where no first rung is given: the whole training divided by this, and never fewer steps than
# MIN_STEPS.
DEFAULT_PARTS = 27
MIN_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class RungScore:
    """A training at one of its rungs: mean PSNR (dB, peak 1) and SSIM over the held-out pairs, on
    averaged weights.
    """

    step: int
    psnr_db: float
    ssim: float
    loss: float
    """Training loss, smoothed."""
    seconds: float
    """Spent in training until here."""
    latency_ms: float | None = None
    """The network's, on MO's clock: known before any training."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


Decide = Callable[[RungScore], bool]
"""Whether a training goes on past the rung that it has just reached."""


def rung_steps(steps: int, first_rung: int | None = None) -> list[int]:
    """The steps of the rungs, rising, the last is `steps`: steps, steps / 3, steps / 9 ..., none
    below `first_rung`.

    Raises InputError where `first_rung` is below 1 or the training is too short to reach it.
    """
    if first_rung is not None and not 1 <= first_rung <= steps:
        raise InputError(
            f"train.first_rung must be from 1 to train.steps, {steps}, but got "
            f"{first_rung}; lower it, or raise --steps"
        )
    lowest = max(MIN_STEPS, steps // DEFAULT_PARTS) if first_rung is None else first_rung
    found, step = [steps], steps / FACTOR
    while round(step) >= lowest:
        found.append(round(step))
        step /= FACTOR
    return found[::-1]
