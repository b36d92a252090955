"""Which trials are exported: one by its number, the front, the fastest that is good enough, the
best that is fast enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.study.pareto import candidates, front_rows
from nas.study.records import Row
from space import InputError


def by_number(rows: Sequence[Row], number: int) -> Row:
    """Trial `number`, or the one that it repeats; InputError where that is not complete."""
    row = next((row for row in rows if row.number == number), None)
    if row is None:
        there = f"has 0 to {len(rows) - 1}" if rows else "has no trial yet"
        raise InputError(
            f"--trial must be one of the study's, but there is no {number}: it {there}; change it"
        )
    if row.kind != "complete":
        why = f": {row.message}" if row.message else ""
        complete = ", ".join(str(row.number) for row in rows if row.kind == "complete")
        raise InputError(
            f"an exported trial must be complete, but trial {number} is "
            f"{row.kind.replace('_', ' ')}{why}; complete are {complete or 'none so far'}"
        )
    return row if row.repeat_of is None else by_number(rows, row.repeat_of)


def front(rows: Sequence[Row], latency_limit_ms: float | None) -> list[Row]:
    """The rows on the front, fastest first; InputError where it is empty."""
    chosen = front_rows(rows, latency_limit_ms)
    if not chosen:
        limit = "" if latency_limit_ms is None else f" within its limit of {latency_limit_ms:g} ms"
        raise InputError(
            f"the front must hold a network, but no trial is complete{limit}; let it run on"
        )
    return chosen


def fastest_above(rows: Sequence[Row], psnr_db: float) -> Row:
    """The fastest complete trial from `psnr_db` on; InputError, naming the nearest, without."""
    complete = _complete(rows)
    good = [row for row in complete if (row.psnr_db or 0.0) >= psnr_db]
    if not good:
        best = max(complete, key=lambda row: row.psnr_db or 0.0)
        raise InputError(
            f"--fastest-above-db must be reached by a trial, but none has {psnr_db:g} dB: trial "
            f"{best.number} ({best.name}) comes nearest with {best.psnr_db:.2f} dB; lower it"
        )
    return min(good, key=lambda row: (row.latency_ms or 0.0, -(row.psnr_db or 0.0)))


def best_under(rows: Sequence[Row], latency_ms: float) -> Row:
    """The best complete trial within `latency_ms`; InputError, naming the nearest, without."""
    complete = _complete(rows)
    fast = [row for row in complete if (row.latency_ms or 0.0) <= latency_ms]
    if not fast:
        fastest = min(complete, key=lambda row: row.latency_ms or 0.0)
        raise InputError(
            f"--best-under-ms must be met by a trial, but none takes {latency_ms:g} ms or less: "
            f"trial {fastest.number} ({fastest.name}) comes nearest with {fastest.latency_ms:.2f} "
            "ms; raise it"
        )
    return max(fast, key=lambda row: (row.psnr_db or 0.0, -(row.latency_ms or 0.0)))


def _complete(rows: Sequence[Row]) -> list[Row]:
    complete = candidates(rows)
    if not complete:
        raise InputError("the study must have a complete trial, but has none; let it run on")
    return complete
