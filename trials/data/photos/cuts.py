"""Where a photo is cut into squares that do not overlap, and which of them show something."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

# Mean of a cut in linear light (white = 1) below which it is nearly black: amplified to a scene,
# it would be the noise and the steps of the photo itself.
DARKEST_MEAN = 0.01
# Largest part of a cut that may be clipped white: there is nothing to restore in it.
MOST_WHITE = 0.5
# Least standard deviation of a cut's light relative to its mean: less is a bare wall or sky.
LEAST_CONTRAST = 0.05


def places(height: int, width: int, size: int) -> list[tuple[int, int]]:
    """Top and left, even, of as many squares of `size` as fit side by side, spread evenly."""
    return [(top, left) for top in _starts(height, size) for left in _starts(width, size)]


def _starts(length: int, size: int) -> list[int]:
    count = length // size
    if count == 1:
        return [(length - size) // 4 * 2]
    return [int(place) // 2 * 2 for place in np.linspace(0, length - size, count)]


def spread(cuts: Sequence[T], count: int) -> list[T]:
    """At most `count` of the cuts, spread evenly over the photo."""
    chosen = np.linspace(0, len(cuts) - 1, min(count, len(cuts))).round().astype(int)
    return [cuts[index] for index in chosen]


def worth_training(cut: NDArray[np.float32]) -> bool:
    """Whether a cut (h w 3, linear sRGB) is neither nearly black, nor blown out, nor bare."""
    grey = cut.mean(axis=2)
    mean = float(grey.mean())
    is_lit = mean >= DARKEST_MEAN and float((grey > 0.99).mean()) <= MOST_WHITE
    return is_lit and float(grey.std()) >= LEAST_CONTRAST * mean
