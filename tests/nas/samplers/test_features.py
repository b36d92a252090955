"""Features of a network, without training or building it."""

from __future__ import annotations

import math
import random

from hypothesis import given
from hypothesis import strategies as st

from nas.samplers.features import numbers
from space import BASELINES, DesignSpace

SPACE = DesignSpace()


@given(st.integers(0, 10**9))
def test_numbers_are_finite_and_equally_many(seed: int) -> None:
    features = numbers(SPACE.decode(SPACE.sample(random.Random(seed))))
    assert len(features) == len(numbers(BASELINES["MO"])) and all(map(math.isfinite, features))
