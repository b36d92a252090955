"""The front and its hypervolume, against definitions that are slow and plain."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.study.pareto import (
    Reference,
    candidates,
    front_rows,
    hypervolume,
    pareto_front,
    rows_hypervolume,
)
from nas.study.records import Row

REFERENCE = Reference(psnr_db=20.0, latency_ms=400.0)
# Few different values, so that ties happen.
points = st.lists(
    st.tuples(
        st.integers(36, 64).map(lambda x: x / 2), st.integers(1, 20).map(lambda x: 25.0 * x)
    ),
    max_size=12,
)


def dominates(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@given(points)
def test_the_front_is_what_nothing_dominates(some: list[tuple[float, float]]) -> None:
    wanted = {p for p in some if not any(dominates(q, p) for q in some)}
    front = [some[i] for i in pareto_front(some)]
    assert set(front) == wanted and len(front) == len(wanted)
    assert front == sorted(front, key=lambda p: p[1])


@given(points)
def test_the_hypervolume_is_the_dominated_area(some: list[tuple[float, float]]) -> None:
    """Cuts the plane along every point's coordinates and adds the dominated cells."""
    gains = [REFERENCE.gains(*p) for p in some]
    heights = sorted({0.0, *(max(0.0, gain[0]) for gain in gains)})
    widths = sorted({0.0, *(max(0.0, gain[1]) for gain in gains)})
    area = 0.0
    for low, high in pairwise(heights):
        for left, right in pairwise(widths):
            if any(gain[0] >= high and gain[1] >= right for gain in gains):
                area += (high - low) * (right - left)
    assert hypervolume(some, REFERENCE) == pytest.approx(area)


def test_the_hypervolume_agrees_with_throwing_darts() -> None:
    draw, n = random.Random(0), 20000
    some = [(draw.uniform(18, 32), draw.uniform(25, 500)) for _ in range(6)]
    box = 12.0 * 4.0  # dB above 20, octaves below 400 ms
    darts = [(20 + 12 * draw.random(), 400 / 2 ** (4 * draw.random())) for _ in range(n)]
    hits = sum(any(p[0] >= dart[0] and p[1] <= dart[1] for p in some) for dart in darts)
    assert hypervolume(some, REFERENCE) == pytest.approx(
        box * hits / n, abs=4 * box / (2 * math.sqrt(n))
    )


@given(points, st.tuples(st.floats(10, 40), st.floats(1, 1000)))
def test_a_point_more_never_takes_area_away(
    some: list[tuple[float, float]], more: tuple[float, float]
) -> None:
    before, after = hypervolume(some, REFERENCE), hypervolume([*some, more], REFERENCE)
    assert after >= before - 1e-9
    if any(dominates(p, more) for p in some):
        assert after == pytest.approx(before)


@given(points)
def test_order_and_repeats_do_not_matter(some: list[tuple[float, float]]) -> None:
    assert hypervolume([*some[::-1], *some], REFERENCE) == pytest.approx(
        hypervolume(some, REFERENCE)
    )


def test_known_areas() -> None:
    assert hypervolume([], REFERENCE) == 0
    assert hypervolume([(23.0, 50.0)], REFERENCE) == pytest.approx(3 * 3)
    assert hypervolume([(23.0, 50.0), (26.0, 200.0)], REFERENCE) == pytest.approx(3 * 3 + 3 * 1)
    assert (
        hypervolume([(19.0, 10.0), (30.0, 401.0)], REFERENCE) == 0
    )  # each is worse than the reference somewhere


def row(
    number: int,
    psnr_db: float,
    latency_ms: float,
    kind: str = "complete",
    repeat_of: int | None = None,
) -> Row:
    return Row(
        number=number,
        kind=kind,
        digest=f"{number:016x}",
        psnr_db=psnr_db,
        latency_ms=latency_ms,
        repeat_of=repeat_of,
    )


def test_only_complete_trials_that_repeat_nothing_are_on_the_front() -> None:
    rows = [
        row(0, 25, 100),
        row(1, 25, 100, repeat_of=0),
        row(2, 30, 10, kind="diverged"),
        row(3, 27, 200),
    ]
    assert [r.number for r in front_rows(rows)] == [0, 3]
    assert [r.number for r in candidates(rows)] == [0, 3]


def test_a_limit_takes_slower_ones_off_the_front() -> None:
    rows = [row(0, 25, 100), row(3, 27, 200)]
    assert [r.number for r in front_rows(rows, 150)] == [0]
    volume = rows_hypervolume(rows, REFERENCE, 150)
    assert volume == pytest.approx(10)
    assert rows_hypervolume(rows, None) is None
