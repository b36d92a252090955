"""What timings say: quantiles as numpy's, intervals that hold as often as they claim, a ratio that
no bad round moves.
"""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trials.latency.statistics import drift, median_bounds, ratio_of_rounds, summarise


def test_a_summary_of_known_runs():
    found = summarise([float(k) for k in range(1, 101)])
    assert (found.median_ms, found.runs) == (50.5, 100)
    assert (found.p10_ms, found.p90_ms, found.p99_ms) == pytest.approx((10.9, 90.1, 99.01))
    assert found.low_ms <= 50.5 <= found.high_ms and 15 < found.high_ms - found.low_ms < 25


@given(st.integers(1, 400))
def test_bounds_of_the_median_enclose_it(n):
    times = sorted(random.Random(n).random() for _ in range(n))
    low, high = median_bounds(times)
    assert low <= float(np.median(times)) <= high


def test_bounds_of_the_median_hold_at_95_percent():
    """The true median of a skewed law is outside of the bounds for one of twenty samples."""
    generator, missed = random.Random(0), 0
    for _ in range(2000):
        low, high = median_bounds(sorted(generator.expovariate(1.0) for _ in range(60)))
        missed += not low <= 0.6931471805599453 <= high
    assert 0.02 < missed / 2000 < 0.06


def test_the_interval_of_a_ratio_holds_at_95_percent():
    """Rounds as they were seen on two cores: two places in memory that differ by 5 %, and noise of
    3 %.
    """
    generator, missed = random.Random(0), 0
    for _ in range(1000):
        rounds = [
            generator.choice((2.33, 2.45)) * (1 + generator.gauss(0, 0.03)) for _ in range(26)
        ]
        found = ratio_of_rounds(rounds)
        missed += not found.low <= 2.39 <= found.high
    assert 0.02 < missed / 1000 < 0.08


@given(st.lists(st.floats(0.5, 2.0), min_size=20, max_size=60), st.floats(5, 1e6))
def test_a_disturbed_round_does_not_move_the_ratio(rounds, disturbed):
    found = ratio_of_rounds([*rounds, disturbed])
    assert min(rounds) <= found.value <= max(rounds)
    assert found.low <= found.value <= found.high and found.rounds == len(rounds) + 1


def test_a_few_rounds_have_no_interval_but_their_range():
    found = ratio_of_rounds([1.0, 3.0, 2.0])
    assert (found.value, found.low, found.high, found.rounds) == (2.0, 1.0, 3.0, 3)
    same = ratio_of_rounds([1.5] * 9)
    assert (same.value, same.low, same.high, same.drift) == (1.5, 1.5, 1.5, 0.0)


def test_drift_is_that_of_the_last_third_from_the_first():
    assert drift([1.0, 1.0, 1.0, 1.0, 1.1, 1.1]) == pytest.approx(0.1)
    assert drift([2.0, 2.0, 1.0, 1.0, 1.0, 1.0]) == pytest.approx(0.5)
    assert drift([5.0]) == 0
