"""Tau and regret of a short training against a long one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.view.evaluation.agreement import near_best, regret_of, tau_of

PAIRS = st.lists(
    st.tuples(st.integers(0, 6), st.floats(20, 30, allow_nan=False)), min_size=2, max_size=12
)


def test_tau_is_kendalls() -> None:
    final = np.array([1.0, 2, 3, 4, 5, 6, 7, 8])
    assert tau_of(final, final).value == pytest.approx(1)
    assert tau_of(-final, final).value == pytest.approx(-1)
    # One pair of 28 the other way round: (27 - 1) / 28.
    swapped = np.array([1.0, 2, 3, 4, 5, 6, 8, 7])
    tau = tau_of(swapped, final)
    assert tau.value == pytest.approx(26 / 28)
    assert tau.low is not None and tau.low < tau.value <= (tau.high or 0)
    assert tau_of(np.zeros(8), final).value is None


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_the_regret_is_what_the_chosen_one_lacks(pairs: list[tuple[int, float]]) -> None:
    values, final = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    chosen = [after for before, after in pairs if before == max(one for one, _ in pairs)]
    regret = regret_of(values, final)
    assert regret.value == pytest.approx(max(final) - sum(chosen) / len(chosen))
    assert regret.value is not None and regret.low is not None and regret.low >= 0


@settings(max_examples=20, deadline=None)
@given(PAIRS)
def test_a_perfect_order_has_no_regret(pairs: list[tuple[int, float]]) -> None:
    final = np.array([after for _, after in pairs])
    regret = regret_of(2 * final - 7, final)
    assert regret.value == pytest.approx(0) and regret.high == pytest.approx(0)


def test_near_the_best_is_within_a_decibel() -> None:
    assert near_best(np.array([25.0, 26.0, 26.99, 27.0])).tolist() == [False, True, True, True]
    assert tau_of(np.array([1.0]), np.array([1.0])).value is None
    assert regret_of(np.array([1.0]), np.array([1.0])).words() == "-"
