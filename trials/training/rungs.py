"""The rungs of a training: steps at which it is scored with averaged weights, and may be stopped.

They lie a factor of three apart and end with the last step, so that a training that is stopped at
the lowest costs a few hundredths of a whole one (Li et al., "A System for Massively Parallel
Hyperparameter Tuning", 2020). The decision is the caller's. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable

from space import InputError
from trials.result import RungScore

FACTOR = 3
# The default first rung: the whole training divided by DEFAULT_PARTS, at least MIN_STEPS.
DEFAULT_PARTS = 27
MIN_STEPS = 10

Decide = Callable[[RungScore], bool]
"""Whether a training goes on past the rung that it has just reached."""


def rung_steps(steps: int, first_rung: int | None = None) -> list[int]:
    """The steps of the rungs, rising: ..., steps / 9, steps / 3, steps; none below `first_rung`.

    Raises InputError where `first_rung` is below 1 or above `steps`.
    """
    if first_rung is not None and not 1 <= first_rung <= steps:
        raise InputError(
            f"train.first_rung must be from 1 to train.steps, {steps}, but got {first_rung}; "
            "lower it, or raise --steps"
        )
    lowest = max(MIN_STEPS, steps // DEFAULT_PARTS) if first_rung is None else first_rung
    rungs, step = [steps], steps / FACTOR
    while round(step) >= lowest:
        rungs.append(round(step))
        step /= FACTOR
    return rungs[::-1]
