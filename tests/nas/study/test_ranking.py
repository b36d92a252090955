"""The stopping rule's own properties, on random networks; and a replay of arrivals."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.study.ranking import (
    RungEntry,
    farthest_first,
    fronts,
    is_promoted,
    needed_psnr_db,
    promoted,
)

# Few values, so that equals and dominance happen often; and free ones.
PSNR = st.one_of(st.integers(18, 24).map(float), st.floats(5, 40, allow_nan=False))
LATENCY = st.one_of(st.integers(1, 6).map(float), st.floats(0.01, 1000, allow_nan=False))


@st.composite
def rungs(draw: st.DrawFn, low: int = 1, high: int = 30) -> list[RungEntry]:
    points = draw(st.lists(st.tuples(PSNR, LATENCY), min_size=low, max_size=high))
    return [
        RungEntry(psnr_db=p, latency_ms=ms, digest=f"{i:04d}") for i, (p, ms) in enumerate(points)
    ]


def dominates(a: RungEntry, b: RungEntry) -> bool:
    better = a.psnr_db > b.psnr_db or a.latency_ms < b.latency_ms
    return better and a.psnr_db >= b.psnr_db and a.latency_ms <= b.latency_ms


@given(rungs())
@settings(max_examples=1000)
def test_exactly_a_third_is_promoted(entries: list[RungEntry]) -> None:
    chosen = promoted(entries)
    assert len(chosen) == math.ceil(len(entries) / 3) and chosen <= {one.digest for one in entries}


@given(rungs(), st.sampled_from([(0.0, 0.5), (0.1, 1.0), (0.1, 0.5)]))
@settings(max_examples=1000)
def test_a_newcomer_that_dominates_all_is_promoted(
    entries: list[RungEntry], gain: tuple[float, float]
) -> None:
    psnr_db, latency_ms = (
        max(s.psnr_db for s in entries) + gain[0],
        min(s.latency_ms for s in entries) * gain[1],
    )
    newcomer = RungEntry(psnr_db=psnr_db, latency_ms=latency_ms, digest="zzzz")
    assert all(dominates(newcomer, one) for one in entries)
    assert is_promoted(newcomer, entries)


@given(rungs(low=0), PSNR, LATENCY)
@settings(max_examples=1000)
def test_a_newcomer_is_promoted_only_with_what_it_needs(
    entries: list[RungEntry], psnr_db: float, latency_ms: float
) -> None:
    newcomer = RungEntry(psnr_db=psnr_db, latency_ms=latency_ms, digest="zzzz")
    (needed,) = needed_psnr_db(entries, [latency_ms])
    if psnr_db < needed:
        assert not is_promoted(newcomer, entries)
    elif psnr_db > needed:
        room = math.ceil((len(entries) + 1) / 3)
        reached = next(
            k for k, front in enumerate(fronts([*entries, newcomer])) if newcomer in front
        )
        assert sum(map(len, fronts(entries)[:reached])) < room, "some of its front go on"


@given(rungs(low=2), st.randoms(use_true_random=False))
@settings(max_examples=1000)
def test_the_order_of_arrival_does_not_matter(
    entries: list[RungEntry], chance: random.Random
) -> None:
    mixed = list(entries)
    chance.shuffle(mixed)
    assert promoted(mixed) == promoted(entries)


@given(rungs(low=2))
@settings(max_examples=1000)
def test_equal_networks_are_told_apart_by_digest_alone(entries: list[RungEntry]) -> None:
    """Two equal networks that arrive the other way round: the same values go on."""
    mixed = [
        RungEntry(psnr_db=s.psnr_db, latency_ms=s.latency_ms, digest=s.digest)
        for s in reversed(entries)
    ]
    by_digest = {s.digest: (s.psnr_db, s.latency_ms) for s in entries}
    assert sorted(by_digest[d] for d in promoted(mixed)) == sorted(
        by_digest[d] for d in promoted(entries)
    )


@given(st.lists(st.floats(5, 40, allow_nan=False), min_size=1, max_size=30), st.booleans())
@settings(max_examples=1000)
def test_with_one_objective_constant_it_is_successive_halving(
    values: list[float], by_latency: bool
) -> None:
    entries = [
        RungEntry(
            psnr_db=25.0 if by_latency else value,
            latency_ms=value if by_latency else 3.0,
            digest=f"{i:04d}",
        )
        for i, value in enumerate(values)
    ]
    best = sorted(values, reverse=not by_latency)[: math.ceil(len(values) / 3)]
    mine = {s.digest: s.latency_ms if by_latency else s.psnr_db for s in entries}
    assert sorted(mine[d] for d in promoted(entries)) == sorted(best)


@given(rungs())
@settings(max_examples=1000)
def test_no_network_is_promoted_in_place_of_one_that_dominates_it(
    entries: list[RungEntry],
) -> None:
    chosen = promoted(entries)
    stopped = [one for one in entries if one.digest not in chosen]
    assert not any(dominates(a, b) for a in stopped for b in entries if b.digest in chosen)


@given(rungs())
@settings(max_examples=1000)
def test_fronts_are_those_of_the_definition(entries: list[RungEntry]) -> None:
    left, expected = list(entries), []
    while left:
        front = [one for one in left if not any(dominates(other, one) for other in left)]
        expected.append({one.digest for one in front})
        left = [one for one in left if one not in front]
    assert [{one.digest for one in front} for front in fronts(entries)] == expected


@given(rungs(low=2), st.integers(1, 30))
@settings(max_examples=1000)
def test_a_front_is_thinned_from_its_ends(entries: list[RungEntry], count: int) -> None:
    front = fronts(entries)[0]
    count = min(count, len(front))
    chosen = farthest_first(front, count)
    assert len({one.digest for one in chosen}) == count
    assert max(one.psnr_db for one in chosen) == max(one.psnr_db for one in front)
    if count >= 2 and len({(one.psnr_db, one.latency_ms) for one in front}) >= 2:
        assert min(one.latency_ms for one in chosen) == min(one.latency_ms for one in front)


def test_a_thinned_front_keeps_its_middle() -> None:
    """Five networks in a row, an octave and a dB apart, two of them crowded: three of them are the
    ends and the middle.
    """
    points = [(20.0, 1.0), (20.1, 1.05), (22.0, 4.0), (23.9, 15.0), (24.0, 16.0)]
    front = [
        RungEntry(psnr_db=p, latency_ms=ms, digest=str(i)) for i, (p, ms) in enumerate(points)
    ]
    assert {one.digest for one in farthest_first(front, 3)} == {"0", "2", "4"}


# In the order in which networks arrived at the rung of 50 steps; what the rule must say, worked
# out by hand: of 4 two go on (a and MO share the front), of 9 three: f is dominated by none, but
# lies close to b.
@pytest.mark.parametrize("order", [0, 1])
def test_a_recorded_order_of_arrival(order: int) -> None:
    recorded = [
        ("mo", 21.6, 30.0, True),
        ("m1", 20.9, 73.0, False),
        ("m2", 20.2, 118.0, False),
        ("a", 21.3, 14.0, True),
        ("b", 21.9, 11.0, True),
        ("c", 18.0, 9.0, True),
        ("d", 21.0, 25.0, False),
        ("e", 22.4, 22.0, True),
        ("f", 22.0, 12.0, False),
    ]
    seen: list[RungEntry] = []
    for digest, psnr_db, latency_ms, expected in recorded:
        one = RungEntry(psnr_db=psnr_db, latency_ms=latency_ms, digest=digest)
        others = seen if order == 0 else list(reversed(seen))
        assert is_promoted(one, others) is expected, digest
        seen.append(one)


def test_the_largest_rung_is_ranked_at_once() -> None:
    """5,000 networks: the ranking is n log n, so that a late trial waits no longer than an early
    one.
    """
    chance = random.Random(0)
    entries = [
        RungEntry(psnr_db=chance.uniform(15, 25), latency_ms=chance.uniform(1, 100), digest=f"{i}")
        for i in range(5000)
    ]
    assert len(promoted(entries)) == 1667
    assert sum(len(front) for front in fronts(entries)) == 5000
    assert all(
        a.psnr_db <= b.psnr_db for front in fronts(entries) for a, b in itertools.pairwise(front)
    )
