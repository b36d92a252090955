"""The stopping rule: at a rung, the best third of the networks that reached it goes on.

"Best" has two objectives: PSNR at that rung, which a longer training would raise, and latency,
which is known before any training. Networks are ranked by non-dominated sorting, and inside the
front that no longer fits whole by farthest-first selection, so that what goes on covers the front
instead of crowding at one place. A newcomer that dominates all others is therefore never stopped,
and with one objective constant the rule is plain successive halving.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trials import FACTOR


@dataclass(frozen=True, kw_only=True)
class RungEntry:
    """One network at a rung: PSNR there, latency (ms or any unit), and its digest."""

    psnr_db: float
    latency_ms: float
    digest: str


def is_promoted(newcomer: RungEntry, others: Iterable[RungEntry]) -> bool:
    """Whether `newcomer` is promoted among all that reached its rung; `others` may hold it."""
    entries = {one.digest: one for one in others} | {newcomer.digest: newcomer}
    return newcomer.digest in promoted(list(entries.values()))


def promoted(entries: Sequence[RungEntry]) -> set[str]:
    """The digests of the best third, exactly ceil(n / 3) of n; it doesn't depend on the order of
    `entries`.
    """
    count = math.ceil(len(entries) / FACTOR)
    chosen: list[RungEntry] = []
    for front in fronts(entries):
        room = count - len(chosen)
        chosen += front if len(front) <= room else farthest_first(front, room)
        if len(chosen) == count:
            break
    return {one.digest for one in chosen}


def needed_psnr_db(entries: Sequence[RungEntry], latencies_ms: Sequence[float]) -> list[float]:
    """For each of `latencies_ms` the PSNR (dB) that a newcomer must exceed to be in a front of
    which some go on; -inf: none.

    In the last of those fronts distance decides, so that this is needed, and mostly enough.
    """
    room = math.ceil((len(entries) + 1) / FACTOR)
    last: list[RungEntry] = []
    for front in fronts(entries):
        last, room = front, room - len(front)
        if room <= 0:
            break
    else:
        return [-math.inf] * len(latencies_ms)
    # A front runs from fast to slow, and its PSNR rises: the slowest that is no slower is to beat.
    ends = [one.latency_ms for one in last]
    beaten = [bisect.bisect_right(ends, latency_ms) for latency_ms in latencies_ms]
    return [last[index - 1].psnr_db if index else -math.inf for index in beaten]


def fronts(entries: Iterable[RungEntry]) -> list[list[RungEntry]]:
    """Non-dominated fronts, the best first, each from fast to slow, equal networks in one front.

    In order of latency a network belongs to the first front whose best PSNR so far is below its
    own (those bests fall from front to front, so it is found by bisection): n log n in all.
    """
    ranked: list[list[RungEntry]] = []
    worst: list[float] = []  # minus the best PSNR of each front, rising
    last: RungEntry | None = None
    place = 0
    for one in sorted(entries, key=lambda s: (s.latency_ms, -s.psnr_db, s.digest)):
        if last is None or (one.psnr_db, one.latency_ms) != (last.psnr_db, last.latency_ms):
            place = bisect.bisect_right(worst, -one.psnr_db)
            if place == len(ranked):
                ranked.append([])
                worst.append(math.inf)
            worst[place] = -one.psnr_db
        ranked[place].append(one)
        last = one
    return ranked


def farthest_first(front: Sequence[RungEntry], count: int) -> list[RungEntry]:
    """`count` networks of one front, farthest first: the best, the fastest, then always the one
    farthest from those chosen.

    Distances are in shares of the front's own extent, in dB and in octaves of latency.
    """
    # The order of equals is that of their digests, whoever came first.
    waiting = sorted(front, key=lambda s: (-s.psnr_db, s.latency_ms, s.digest))
    octaves = {one.digest: math.log2(one.latency_ms) for one in waiting}
    psnr_extent = (waiting[0].psnr_db - min(one.psnr_db for one in waiting)) or 1.0
    octave_extent = (max(octaves.values()) - min(octaves.values())) or 1.0

    def distance(a: RungEntry, b: RungEntry) -> float:
        return math.hypot(
            (a.psnr_db - b.psnr_db) / psnr_extent,
            (octaves[a.digest] - octaves[b.digest]) / octave_extent,
        )

    chosen = [waiting.pop(0)]
    nearest = [distance(one, chosen[0]) for one in waiting]
    while len(chosen) < count:
        # In a front without equals the fastest is the farthest from the best, at both its ends.
        index = max(range(len(waiting)), key=lambda i: nearest[i])
        chosen.append(waiting.pop(index))
        nearest.pop(index)
        nearest = [
            min(far, distance(one, chosen[-1])) for far, one in zip(nearest, waiting, strict=True)
        ]
    return chosen[:count]
