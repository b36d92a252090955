"""Gaussian processes: of one quantity, and of the PSNR at one rung after the other.

Stopped trials count without being taken for an end: there is one process for the PSNR at the first
rung, one for every later rung given the one before it, and so on to the end (Kennedy and O'Hagan,
"Predicting the output from a complex computer code when fast approximations are available",
Biometrika 2000). All trials teach the first process, and only whole trainings the last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# Settings of all processes: length scale (in standard deviations of all features together: 2),
# noise, weight of the prior spread, and variance of the slope.
LENGTH, NOISE, PRIOR_WEIGHT, SLOPE_VARIANCE = 4.0, 0.1, 4.0, 0.05


class GaussianProcess:
    """A process of `z` at the points `x`: Matérn 5/2 and a linear part, given `before`, a quantity
    that was measured at each point before `z`.

    The slope on `before` is shrunk to `slope`, and the spread, of which few points say little, to
    `spread`, both in the units of `z`.
    """

    def __init__(
        self, x: Array, z: Array, *, spread: float, before: Array | None = None, slope: float = 0.0
    ) -> None:
        self._x, self._slope = x, slope
        self._centre = 0.0 if before is None else float(before.mean())
        self._before = np.zeros(len(x)) if before is None else before - self._centre
        rest = z - slope * self._before
        self._mean = float(rest.mean())
        linear = SLOPE_VARIANCE * np.outer(self._before, self._before)
        kernel = _kernel(x, x) + linear + NOISE * np.eye(len(x))
        self._inverse = np.linalg.inv(kernel)
        self._alpha = self._inverse @ (rest - self._mean)
        fit = float((rest - self._mean) @ self._alpha)
        self._variance = (fit + PRIOR_WEIGHT * spread**2 / (1 + NOISE)) / (len(x) + PRIOR_WEIGHT)

    def predict(
        self, x: Array, before: Array | None = None, variance: Array | float = 0.0
    ) -> tuple[Array, Array]:
        """Means and variances of one measurement, noise included, at each of `x`, where `before`
        has that `variance`.
        """
        offset = np.zeros(len(x)) if before is None else before - self._centre
        kernel = _kernel(x, self._x) + SLOPE_VARIANCE * np.outer(offset, self._before)
        mean = self._mean + self._slope * offset + kernel @ self._alpha
        prior = 1 + (x**2).mean(axis=1) + SLOPE_VARIANCE * offset**2
        own = prior - np.einsum("ij,ij->i", kernel @ self._inverse, kernel)
        slope = self._slope + SLOPE_VARIANCE * float(self._before @ self._alpha)
        return mean, slope**2 * variance + self._variance * (np.maximum(own, 1e-6) + NOISE)


def _kernel(a: Array, b: Array) -> Array:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    far = math.sqrt(5) / LENGTH * np.sqrt(np.maximum(squared, 0.0))
    return np.asarray((1 + far + far**2 / 3) * np.exp(-far) + a @ b.T / a.shape[1])


def predict_rungs(
    x: Array, rungs: Sequence[Mapping[float, float]], at: Array
) -> dict[float, tuple[Array, Array]]:
    """Means and standard deviations (dB) of the PSNR at the points `at`, by step in rising order.

    `rungs` holds the measured PSNR (dB) by step of each point of `x`. The end of a training is at
    infinity, in the result only where any was measured.
    """
    steps = sorted({step for one in rungs for step in one})
    longest = max((step for step in steps if step < math.inf), default=1.0) * 3
    predicted: dict[float, tuple[Array, Array]] = {}
    last: float | None = None
    for step in steps:
        rows = [k for k, one in enumerate(rungs) if step in one and (last is None or last in one)]
        if not rows:
            continue
        z = np.array([rungs[k][step] for k in rows])
        if last is None:
            mean, variance = GaussianProcess(x[rows], z, spread=1.5).predict(at)
        else:
            # Over the benchmark's table differences of PSNR shrink about with the third root of
            # the steps.
            slope = (last / min(step, longest)) ** (1 / 3)
            before = np.array([rungs[k][last] for k in rows])
            process = GaussianProcess(x[rows], z, spread=0.5, before=before, slope=slope)
            mean, variance = process.predict(at, predicted[last][0], predicted[last][1] ** 2)
        predicted[step] = mean, np.sqrt(variance)
        last = step
    return predicted
