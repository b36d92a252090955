"""The Pareto front of PSNR against latency, and its hypervolume in dB x octaves.

The hypervolume is the area of what the front dominates, counted from a reference point that a
study keeps: the PSNR of amplifying alone, and eight times MO's latency. Latency counts in octaves
(log2 of a ratio), so that halving it is worth the same everywhere and the unit doesn't depend on
the machine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import optuna

from nas.study.records import Row, mo_latency_ms
from nas.study.schema import set_study_attrs, study_attrs

R = TypeVar("R", bound=Row)

# The reference latency in units of MO's: slower than this and a network adds nothing.
REFERENCE_RATIO = 8.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """From where the hypervolume counts: PSNR of amplifying alone, latency of 8 times MO's."""

    psnr_db: float
    latency_ms: float

    def gains(self, psnr_db: float, latency_ms: float) -> tuple[float, float]:
        """(dB above the reference, octaves faster than it); negative where it is worse."""
        return psnr_db - self.psnr_db, math.log2(self.latency_ms / latency_ms)


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (psnr_db, latency_ms) points that no other dominates, fastest first."""
    best, front = -math.inf, []
    for index in sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0], i)):
        if points[index][0] > best:
            best = points[index][0]
            front.append(index)
    return front


def hypervolume(points: Iterable[tuple[float, float]], reference: Reference) -> float:
    """Area that (psnr_db, latency_ms) points dominate from `reference`, in dB x octaves."""
    gains = [reference.gains(*point) for point in points]
    area, top = 0.0, 0.0
    # From fast to slow, each point adds the strip by which it is higher than all faster ones.
    positive = (gain for gain in gains if min(gain) > 0)
    for gain_db, octaves in sorted(positive, key=lambda gain: -gain[1]):
        if gain_db > top:
            area += (gain_db - top) * octaves
            top = gain_db
    return area


def candidates(rows: Iterable[R], latency_limit_ms: float | None = None) -> list[R]:
    """The rows that may be on the front: complete, no repeats, and within the limit."""
    limit = math.inf if latency_limit_ms is None else latency_limit_ms
    return [row for row in rows if row.is_point and _point(row)[1] <= limit]


def front_rows(rows: Iterable[R], latency_limit_ms: float | None = None) -> list[R]:
    """The rows on the front, fastest first."""
    chosen = candidates(rows, latency_limit_ms)
    return [chosen[index] for index in pareto_front([_point(row) for row in chosen])]


def rows_hypervolume(
    rows: Iterable[Row], reference: Reference | None, latency_limit_ms: float | None = None
) -> float | None:
    """The hypervolume of the rows' front; None while there is no reference."""
    if reference is None:
        return None
    return hypervolume([_point(row) for row in candidates(rows, latency_limit_ms)], reference)


def _point(row: Row) -> tuple[float, float]:
    assert row.psnr_db is not None and row.latency_ms is not None  # a point has both
    return row.psnr_db, row.latency_ms


def settle_reference(study: optuna.Study, rows: Sequence[Row]) -> Reference | None:
    """The study's reference point, stored as soon as MO's latency and the PSNR of amplifying alone
    are known; None before.
    """
    attrs = study_attrs(study)
    if point := attrs.get("reference"):
        return Reference(**point)
    mo_ms, baseline_db = mo_latency_ms(rows), attrs.get("baseline_psnr_db")
    if mo_ms is None or baseline_db is None:
        return None
    point = {"psnr_db": baseline_db, "latency_ms": REFERENCE_RATIO * mo_ms}
    set_study_attrs(study, reference=point)
    return Reference(**point)
