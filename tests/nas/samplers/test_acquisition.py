"""The expected gain of hypervolume, against hypervolumes that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.samplers.acquisition import expected_gain
from nas.study.pareto import Reference, hypervolume

REFERENCE = Reference(psnr_db=10.0, latency_ms=1000.0)
GAIN = st.tuples(st.floats(0.1, 10), st.floats(0.1, 8))


@given(st.lists(GAIN, max_size=8), GAIN)
def test_a_sure_networks_expected_gain_is_its_gain(
    front: list[tuple[float, float]], one: tuple[float, float]
) -> None:
    def area(gains: list[tuple[float, float]]) -> float:
        return hypervolume([(10 + db, 1000 / 2**octaves) for db, octaves in gains], REFERENCE)

    sure = np.array([1e-9])
    found = expected_gain(front, (np.array([one[0]]), sure), (np.array([one[1]]), sure))
    assert found[0] == pytest.approx(area([*front, one]) - area(front), abs=1e-6)


@settings(deadline=None)
@given(st.lists(GAIN, max_size=5), GAIN, st.floats(0.1, 2), st.floats(0.1, 2), st.integers(0, 9))
def test_an_unsure_networks_expected_gain_is_the_mean(
    front: list[tuple[float, float]],
    one: tuple[float, float],
    db_sd: float,
    octaves_sd: float,
    seed: int,
) -> None:
    samples = np.random.default_rng(seed).normal(one, (db_sd, octaves_sd), (4000, 2))
    sure = np.full(len(samples), 1e-9)
    sampled = expected_gain(front, (samples[:, 0], sure), (samples[:, 1], sure))
    exact = expected_gain(
        front,
        (np.array([one[0]]), np.array([db_sd])),
        (np.array([one[1]]), np.array([octaves_sd])),
    )
    assert exact[0] == pytest.approx(
        sampled.mean(), abs=6 * sampled.std() / math.sqrt(len(samples)) + 0.02
    )
