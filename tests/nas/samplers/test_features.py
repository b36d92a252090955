"""Features of a network: few, finite, and the same for the same network."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.features import numbers
from space import BASELINES, DesignSpace, count_cost

SPACE = DesignSpace()


@given(st.integers(0, 10**9))
def test_numbers_are_finite_and_begin_with_the_work(seed: int) -> None:
    genome = SPACE.decode(SPACE.sample(random.Random(seed)))
    features = numbers(genome)
    assert len(features) == 24 and all(map(math.isfinite, features))
    assert features[0] == pytest.approx(math.log2(count_cost(genome, 64, 64).macs / 64**2))


def test_numbers_of_mo() -> None:
    """What a sampler has learnt of stored trials holds while these stay."""
    macs = [12.26298, 6.35755, 9.07414, 5.20945, 0, 10.17118, 0, 9.97871, 11.03686, 0]
    rest = [0, 0, 1, 0, 6, 6, 1, 2, 0, 1, 3, 0, 0, 3]
    assert numbers(BASELINES["MO"]) == pytest.approx([*macs, *rest], abs=1e-5)
