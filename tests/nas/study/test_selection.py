"""Which trials of a study are exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nas.study import selection
from nas.study.records import Row
from space import InputError


def row(number: int, psnr_db: float | None, latency_ms: float | None, **more: Any) -> Row:
    return Row(
        number=number,
        kind=more.pop("kind", "complete"),
        digest=f"{number:016x}",
        psnr_db=psnr_db,
        latency_ms=latency_ms,
        **more,
    )


ROWS = [
    row(0, 24.0, 10.0),
    row(1, 25.0, 30.0),
    row(2, 24.5, 20.0),
    row(3, 24.5, 18.0),
    row(4, 23.0, 30.0),
    row(5, None, 90.0, kind="over_limit", message="too slow"),
    row(6, 25.0, 30.0, repeat_of=1),
    row(7, None, None, kind="running"),
]


def test_the_requested_trials_are_selected() -> None:
    assert [one.number for one in selection.front(ROWS, None)] == [0, 3, 1]
    assert [one.number for one in selection.front(ROWS, 20.0)] == [0, 3]
    assert (
        selection.fastest_above(ROWS, 24.5).number == 3
        and selection.fastest_above(ROWS, 24.6).number == 1
    )
    assert (
        selection.best_under(ROWS, 30.0).number == 1
        and selection.best_under(ROWS, 29.9).number == 3
    )
    assert selection.best_under(ROWS, 10.0).number == 0
    assert selection.by_number(ROWS, 6).number == 1, "a repeat stands for what it repeats"


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (
            lambda: selection.by_number(ROWS, 5),
            "trial 5 is over limit: too slow; complete are 0, 1, 2, 3, 4, 6",
        ),
        (lambda: selection.by_number(ROWS, 7), "trial 7 is running; complete"),
        (lambda: selection.by_number(ROWS, -1), "there is no -1: it has 0 to 7"),
        (lambda: selection.by_number([], 0), "it has no trial yet"),
        (
            lambda: selection.front(ROWS, 5.0),
            "no trial is complete within its limit of 5 ms; let it run on",
        ),
        (lambda: selection.front([], None), "no trial is complete; let"),
        (
            lambda: selection.fastest_above(ROWS, 26),
            "none has 26 dB: trial 1 (00000000) comes nearest with 25.00 dB",
        ),
        (
            lambda: selection.best_under(ROWS, 9),
            "none takes 9 ms or less: trial 0 (00000000) comes nearest with 10.00 ms",
        ),
        (
            lambda: selection.best_under(ROWS[5:], 9),
            "must have a complete trial, but has none",
        ),
    ],
)
def test_without_a_match_the_nearest_is_named(choose: Callable[[], Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        choose()
    assert message in str(error.value)
