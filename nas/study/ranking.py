"""The stopping rule: at a rung, the best third of the networks that reached it goes on.

"Best" has two objectives: PSNR at that rung, which a longer training would raise, and latency,
which is known before any training. Networks are ranked by non-dominated sorting, and inside the
front that no longer fits whole by farthest-first spread, so that what goes on covers the front
instead of crowding at one place. A newcomer that dominates all others is therefore never stopped,
and with one objective constant the rule is plain successive halving.

Seeds and genomes that a user queued are ranked like all others, and never stopped.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from trials import FACTOR, RungScore

# What was decided at a rung: the trial's attribute `rungs` holds it.
ON, STOPPED, EXEMPT, END = "on", "stopped", "exempt", "end"


@dataclass(frozen=True, kw_only=True)
class RungEntry:
    """One network at a rung: PSNR there (dB), latency (ms or any unit), and what tells equals
    apart (its digest).
    """

    psnr_db: float
    latency_ms: float
    digest: str


def is_promoted(newcomer: RungEntry, others: Iterable[RungEntry]) -> bool:
    """Whether `newcomer` is named among all that reached its rung; `others` may hold it already."""
    standings = {one.digest: one for one in others} | {newcomer.digest: newcomer}
    return newcomer.digest in named(list(standings.values()))


def named(standings: Sequence[RungEntry]) -> set[str]:
    """The digests of the best third, exactly ceil(n / 3) of n; it doesn't depend on the order of
    `standings`.
    """
    wanted = math.ceil(len(standings) / FACTOR)
    chosen: list[RungEntry] = []
    for front in fronts(standings):
        room = wanted - len(chosen)
        chosen += front if len(front) <= room else spread(front, room)
        if len(chosen) == wanted:
            break
    return {one.digest for one in chosen}


def needed_psnr_db(standings: Sequence[RungEntry], latencies_ms: Sequence[float]) -> list[float]:
    """For each of `latencies_ms` the PSNR (dB) that a newcomer must exceed to be in a front of
    which some go on; -inf: none.

    Inside the last of those fronts the spread decides, so that this is needed, and mostly enough.
    """
    room = math.ceil((len(standings) + 1) / FACTOR)
    last: list[RungEntry] = []
    for front in fronts(standings):
        last, room = front, room - len(front)
        if room <= 0:
            break
    else:
        return [-math.inf] * len(latencies_ms)
    # A front runs from fast to slow, and its PSNR rises: the slowest that is no slower is the one
    # to beat.
    ends = [one.latency_ms for one in last]
    beaten = [bisect.bisect_right(ends, latency_ms) for latency_ms in latencies_ms]
    return [last[index - 1].psnr_db if index else -math.inf for index in beaten]


def fronts(standings: Iterable[RungEntry]) -> list[list[RungEntry]]:
    """Non-dominated fronts, the best first, each from fast to slow; equal networks are in one
    front.

    In order of latency a network belongs to the first front whose best PSNR so far is below its
    own (those bests fall from front to front, so it is found by bisection): n log n in all.
    """
    found: list[list[RungEntry]] = []
    worst: list[float] = []  # minus the best PSNR of each front, rising
    last: RungEntry | None = None
    place = 0
    for one in sorted(standings, key=lambda s: (s.latency_ms, -s.psnr_db, s.digest)):
        if last is None or (one.psnr_db, one.latency_ms) != (last.psnr_db, last.latency_ms):
            place = bisect.bisect_right(worst, -one.psnr_db)
            if place == len(found):
                found.append([])
                worst.append(math.inf)
            worst[place] = -one.psnr_db
        found[place].append(one)
        last = one
    return found


def spread(front: Sequence[RungEntry], count: int) -> list[RungEntry]:
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


def rung_entries(study: optuna.Study, step: int) -> list[RungEntry]:
    """All networks of `study` that reached the rung at `step`, each once, whichever worker trained
    them.
    """
    found: dict[str, RungEntry] = {}
    for trial in study.get_trials(deepcopy=False):
        digest = str(trial.user_attrs.get("digest"))
        for rung in trial.user_attrs.get("rungs") or ():
            if rung["step"] == step and _counts(rung):
                found[digest] = RungEntry(
                    psnr_db=rung["psnr_db"], latency_ms=rung["latency_ms"], digest=digest
                )
    return list(found.values())


@dataclass(kw_only=True)
class Rungs:
    """One trial's way over the rungs: what it reached is stored in the study, so that all workers
    and a restart see it.
    """

    study: optuna.Study
    trial: optuna.Trial
    digest: str
    exempt: bool
    enabled: bool

    @property
    def may_stop(self) -> bool:
        """Whether any rung could stop it."""
        return self.enabled and not self.exempt

    def __call__(self, score: RungScore) -> bool:
        """Stores `score`, decides whether the trial goes on, and stores that too."""
        reached = [
            rung for rung in self.trial.user_attrs.get("rungs") or () if rung["step"] < score.step
        ]
        rung: dict[str, Any] = {**score.to_dict(), "decision": ON}
        self.trial.set_user_attr("rungs", [*reached, rung])
        if not self.may_stop:
            decision = EXEMPT if self.exempt else ON
        else:
            assert score.latency_ms is not None  # a trial is timed before it is trained
            mine = RungEntry(
                psnr_db=score.psnr_db, latency_ms=score.latency_ms, digest=self.digest
            )
            decision = ON if is_promoted(mine, rung_entries(self.study, score.step)) else STOPPED
        if decision != ON:
            self.trial.set_user_attr("rungs", [*reached, {**rung, "decision": decision}])
        return decision != STOPPED


def _counts(rung: Mapping[str, Any]) -> bool:
    return rung.get("psnr_db") is not None and rung.get("latency_ms") is not None
