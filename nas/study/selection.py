"""Which trials are exported: one by its number, the front, the fastest that is good enough, the
best that is fast enough.
"""

from __future__ import annotations

from collections.abc import Sequence

from nas.study.pareto import candidates, front_rows
from nas.study.records import Row
from space import InputError


def by_number(rows: Sequence[Row], number: int) -> Row:
    """The trial `number`, of a repeat the one that it repeats; InputError where there is none or
    it is not complete.
    """
    row = next((row for row in rows if row.number == number), None)
    if row is None:
        there = f"has 0 to {len(rows) - 1}" if rows else "has no trial yet"
        raise InputError(
            f"--trial must be a trial of the study, but there is no {number}: it {there}; "
            f"see its table "
            "with python -m nas.search"
        )
    if row.kind != "complete":
        why = f": {row.message}" if row.message else ""
        raise InputError(
            f"an exported trial must be complete, but trial {number} is "
            f"{row.kind.replace('_', ' ')}{why}; "
            f"complete are {_numbers(rows)}"
        )
    return row if row.repeat_of is None else by_number(rows, row.repeat_of)


def front(rows: Sequence[Row], latency_limit_ms: float | None) -> list[Row]:
    """The rows on the front, fastest first; InputError where it is empty."""
    found = front_rows(rows, latency_limit_ms)
    if not found:
        raise InputError(
            "the front must hold a network to be exported, but it is empty: no trial is complete"
            f"{_within(latency_limit_ms)}; let the search run on"
        )
    return found


def fastest_above(rows: Sequence[Row], psnr_db: float) -> Row:
    """The fastest complete trial of at least `psnr_db`; InputError, with the nearest, where none
    reaches it.
    """
    able = _complete(rows)
    good = [row for row in able if (row.psnr_db or 0.0) >= psnr_db]
    if not good:
        nearest = max(able, key=lambda row: row.psnr_db or 0.0)
        raise InputError(
            f"--fastest-above-db must be reached by a trial, but none has {psnr_db:g} dB: "
            f"trial {nearest.number} "
            f"({nearest.name}) comes nearest with {nearest.psnr_db:.2f} dB; lower it, or "
            f"let the search run "
            "on"
        )
    return min(good, key=lambda row: (row.latency_ms or 0.0, -(row.psnr_db or 0.0)))


def best_under(rows: Sequence[Row], latency_ms: float) -> Row:
    """The complete trial of the highest PSNR within `latency_ms`; InputError, with the nearest,
    where none is so fast.
    """
    able = _complete(rows)
    fast = [row for row in able if (row.latency_ms or 0.0) <= latency_ms]
    if not fast:
        nearest = min(able, key=lambda row: row.latency_ms or 0.0)
        raise InputError(
            f"--best-under-ms must be met by a trial, but none takes {latency_ms:g} ms or "
            f"less: trial "
            f"{nearest.number} ({nearest.name}) comes nearest with "
            f"{nearest.latency_ms:.2f} ms; raise it, or let "
            "the search run on"
        )
    return max(fast, key=lambda row: (row.psnr_db or 0.0, -(row.latency_ms or 0.0)))


def _complete(rows: Sequence[Row]) -> list[Row]:
    able = candidates(rows)
    if not able:
        raise InputError(
            "the study must hold a complete trial to export, but has none; let the search run on"
        )
    return able


def _numbers(rows: Sequence[Row]) -> str:
    numbers = [str(row.number) for row in rows if row.kind == "complete"]
    return ", ".join(numbers) if numbers else "none so far"


def _within(limit: float | None) -> str:
    return "" if limit is None else f" within its limit of {limit:g} ms"
