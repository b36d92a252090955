"""Features of a network: exact works, without training or building it."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from nas.samplers.features import numbers, works
from space import BASELINES, DesignSpace, count_cost

SPACE = DesignSpace()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_works_are_those_that_a_trace_counts(seed: int) -> None:
    genome = SPACE.decode(SPACE.sample(random.Random(seed)))
    cost = count_cost(genome, 64, 64)
    assert {part: round(64 * 64 * work) for part, work in works(genome).items()} == {
        p: n for p, n in cost.parts.items() if n
    }


def test_the_published_networks_works_are_those_that_a_trace_counts() -> None:
    for genome in BASELINES.values():
        assert round(64 * 64 * sum(works(genome).values())) == count_cost(genome, 64, 64).macs


@given(st.integers(0, 10**9))
def test_numbers_are_finite_and_equally_many(seed: int) -> None:
    features = numbers(SPACE.decode(SPACE.sample(random.Random(seed))))
    assert len(features) == len(numbers(BASELINES["MO"])) and all(map(math.isfinite, features))
