"""Gaussian processes: of one quantity, and of the PSNR from rung to rung."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.gaussian_process import GaussianProcess, predict_rungs


@given(st.integers(2, 20), st.integers(0, 99))
def test_a_process_predicts_its_data_closer_than_their_mean(count: int, seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(count, 5))
    z = x @ np.arange(5.0) + 20
    means, variances = GaussianProcess(x, z, spread=1.0).predict(x)
    assert ((means - z) ** 2).sum() <= ((z - z.mean()) ** 2).sum() + 1e-9 and (variances > 0).all()


def test_stopped_networks_teach_the_end_through_the_rungs() -> None:
    """40 networks reach the first rung, 10 the end, which is always 5 dB above it: what only the
    others show is predicted too.
    """
    chance = np.random.default_rng(0)
    x = chance.normal(size=(40, 3))
    first = 15 + x[:, 0]
    seen = [
        {17.0: float(z)} | ({math.inf: float(z) + 5} if k < 10 else {})
        for k, z in enumerate(first)
    ]
    means, deviations = predict_rungs(x, seen, x[10:])[math.inf]
    assert np.abs(means - first[10:] - 5).mean() < 0.4 and (deviations < 3).all()


def test_without_any_end_the_last_rung_is_predicted() -> None:
    x = np.eye(3)
    found = predict_rungs(x, [{17.0: 15.0}, {17.0: 16.0, 50.0: 18.0}, {17.0: 15.5}], x)
    means, _ = found[50.0]
    assert list(found) == [17.0, 50.0] and (means > 16).all() and (means < 20).all()
