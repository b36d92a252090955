"""The acquisition function: the expected gain of hypervolume, PSNR and latency being independent.

In closed form, after Emmerich, Deutz and Klinkenberg, "Hypervolume-based expected improvement",
CEC 2011.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]


def expected_gain(
    front: Sequence[tuple[float, float]], db: tuple[Array, Array], octaves: tuple[Array, Array]
) -> Array:
    """By how much one network more is expected to raise the hypervolume (dB x octaves) of `front`.

    `front` holds pairs of gains over the reference point; `db` and `octaves` are means and
    standard deviations of the gains of each candidate.
    """
    heights, ends = [0.0], [0.0]
    best = 0.0
    positive = (point for point in front if min(point) > 0)
    for gain_db, gain_octaves in sorted(positive, key=lambda point: (-point[1], -point[0])):
        if gain_db > best:
            best = gain_db
            heights.append(gain_db)
            ends.append(gain_octaves)
    # From 0 to the slowest point's octaves the front is as high as that point, and so on; beyond
    # the fastest its height is 0.
    heights, ends = heights[::-1], [0.0, *ends[:0:-1]]
    reach = expected_excess(*octaves, np.array(ends))
    widths = reach - np.hstack([reach[:, 1:], np.zeros((len(reach), 1))])
    return np.asarray((widths * expected_excess(*db, np.array(heights))).sum(axis=1))


def expected_excess(mean: Array, deviation: Array, over: Array) -> Array:
    """The expected excess of each normal variable (rows) over each number of `over` (columns)."""
    z = (mean[:, None] - over) / deviation[:, None]
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return np.asarray(deviation[:, None] * (z * ndtr(z) + density))
