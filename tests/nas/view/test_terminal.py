"""What is shown while a search runs: the table, the log's lines, and how long it may yet take."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from nas.study.pareto import Reference
from nas.study.records import Row
from nas.view.state import ALONE, Current, SearchState
from nas.view.tables import duration, front_table, trials_table
from nas.view.terminal import LogView, TableView, make_view


def row(number: int, **values: object) -> Row:
    figures = {
        "kind": "complete",
        "psnr_db": 25.0 + number,
        "ssim": 0.7,
        "latency_ms": 50.0 + 10 * number,
        "seconds": 30.0,
    }
    return Row(
        number=number,
        digest=f"{number:016x}",
        ratio_to_mo=1.0 + number / 5,
        **{**figures, **values},
    )


ROWS = [
    row(0, baseline="MO"),
    row(1, baseline="M1"),
    row(2, psnr_db=20.0),
    row(3, kind="over_limit", psnr_db=None, ssim=None),
]


def board(**values: object) -> SearchState:
    facts = {
        "study": "dark",
        "total": 12,
        "about": "cpu",
        "reference": Reference(psnr_db=20, latency_ms=400),
        "rows": ROWS,
    }
    return SearchState(**{**facts, **values})


def text_of(thing: object, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(thing)
    return console.file.getvalue()


def test_the_tables_mark_front_and_seeds() -> None:
    lines = text_of(trials_table(ROWS, {0, 1})).splitlines()
    assert lines[1].split() == ["●", "0", "MO", "(baseline)", "25.00", "0.700", "50.00", "1.00"]
    assert lines[3].split() == ["2", "00000000", "20.00", "0.700", "70.00", "1.40"]
    assert lines[4].split() == ["3", "00000000", "-", "-", "80.00", "1.60", "over", "limit"]
    told = text_of(front_table([ROWS[1]], ROWS))
    assert "M1 (baseline)" in told and "MO (baseline)" in told  # beside the front, for comparison
    assert [line.startswith("●") for line in told.splitlines()[2:]] == [True, False]


def test_long_studies_show_their_end_and_hidden_rows_are_counted() -> None:
    lines = text_of(trials_table([row(n) for n in range(30)], set(), most=5)).splitlines()
    assert (
        len(lines) == 7
        and lines[1].split() == ["...", "25", "earlier"]
        and lines[-1].split()[0] == "29"
    )


def test_interrupted_and_queued_attempts_are_not_shown() -> None:
    assert (
        len(
            text_of(
                trials_table([row(0), row(1, kind="interrupted"), row(2, kind="waiting")], set())
            ).splitlines()
        )
        == 2
    )


def test_markup_in_a_message_is_only_text() -> None:
    assert "[/bold] [red]" in text_of(
        trials_table([row(0, kind="error", message="[/bold] [red]")], set())
    )


def test_time_left_counts_the_running_trial_and_the_rest() -> None:
    assert board().left_s() == pytest.approx(
        8 * 30
    )  # a network over the limit also has its verdict
    running = Current(number=4, name="x", started=time.monotonic() - 12)
    assert board(running={ALONE: running}).left_s() == pytest.approx(8 * 30 - 12, abs=1)
    running.progress("train", 0, 100, {})
    running.phase_started -= 10
    running.progress("train", 20, 100, {"loss": 0.5})
    assert (
        running.left_s() == pytest.approx(40, abs=1)
        and running.words() == "train 20/100, loss 0.5"
    )
    assert board(running={ALONE: running}).left_s() == pytest.approx(40 + 7 * 30, abs=1)
    assert board(rows=[], running={ALONE: running}).left_s() == pytest.approx(40 + 11 * 52, abs=15)
    assert board(rows=[]).left_s() is None
    assert board(timeout_s=60).left_s() == pytest.approx(60 + 30, abs=1)


def test_time_left_is_shared_by_all_workers() -> None:
    now = time.monotonic()
    two = {n: Current(number=3 + n, name="x", started=now - 12) for n in (1, 2)}
    assert board(workers=2, running=two).left_s() == pytest.approx((8 * 30 - 24) / 2, abs=1)
    # More workers than trials: those without one don't help, and the longest of the running ones
    # must end.
    last = {
        1: Current(number=10, name="x", started=now - 28),
        2: Current(number=11, name="x", started=now),
    }
    rows = [row(n) for n in range(10)]
    assert board(rows=rows, workers=8, running=last).left_s() == pytest.approx(30, abs=1)
    assert board(rows=rows, workers=8, running=last, timeout_s=0).left_s() == pytest.approx(
        30, abs=1
    )
    loading = {1: Current(number=-1, name="data", started=now)}
    assert board(rows=[], workers=2, running=loading).left_s() is None


def test_durations() -> None:
    assert [duration(s) for s in (-3, 0, 59.6, 65, 7207)] == [
        "0:00",
        "0:00",
        "1:00",
        "1:05",
        "2:00:07",
    ]


@pytest.mark.parametrize("height", [10, 24])
def test_the_live_table_fits_the_terminal(height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=height)
    view = make_view(board(rows=[row(n) for n in range(40)]), console)
    assert isinstance(view, TableView)
    with view:
        view.started(40, "new")
        view.progress("train", 20, 100, {"loss": 0.5})
        picture = text_of(view.render(), 100)
        assert len(picture.splitlines()) <= height
        assert (
            "trial 40 new" in picture and "train 20/100" in picture and "dB x octaves" in picture
        )
        view.ended([*view.board.rows, row(40)], 40)
    assert view.board.current is None


@pytest.mark.parametrize(("height", "lines"), [(10, 1), (16, 4), (60, 20)])
def test_every_worker_has_its_line_as_far_as_there_is_room(height: int, lines: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=height)
    view = make_view(board(rows=[row(n) for n in range(40)], workers=20), console)
    with view:
        for worker in range(1, 21):
            view.started(39 + worker, "new", worker=worker)
            view.progress("train", worker, 100, {"loss": 0.5}, worker=worker)
        picture = text_of(view.render(), 100)
        assert len(picture.splitlines()) <= height
        shown = [line for line in picture.splitlines() if line.startswith("worker ")]
        assert len(shown) == (lines if lines == 20 else lines - 1)
        assert ("more workers" in picture) == (lines < 20)
        if lines == 4:
            assert (
                shown[0].startswith("worker 1  trial 40 new  train 1/100")
                and "17 more workers" in picture
            )
        # What the table would show as running has its line below.
        view.ended([*view.board.rows, row(40), row(41, kind="running")], 40, worker=1)
        assert sorted(view.board.running) == list(range(2, 21))
        assert "running" not in text_of(view.render(), 100)


def test_a_log_tells_whose_trial_it_is() -> None:
    console = Console(file=io.StringIO(), width=40)
    view = make_view(board(workers=2), console)
    with view:
        view.started(3, "new", worker=2)
        view.started(-1, "data", worker=1)
        view.ended([*ROWS[:3], row(3)], 3, worker=2)
        assert list(view.board.running) == [1]
    assert [line.partition(":")[0] for line in console.file.getvalue().splitlines()] == [
        "worker 2, trial 3",
        "worker 2, trial 3 00000000",
    ]


def test_a_log_has_one_line_per_event_and_no_control_characters() -> None:
    console = Console(file=io.StringIO(), width=40)
    view = make_view(board(), console)
    assert isinstance(view, LogView)
    with view:
        view.started(3, "new")
        for step in range(50):
            view.progress("train", step, 50, {"loss": 0.1})
        view.ended(
            [*ROWS[:3], row(3, kind="diverged", psnr_db=None, ssim=None, message="it [did]")], 3
        )
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "trial 3: new starts" and len(lines) == 2
    assert lines[1].startswith(
        "trial 3 00000000: diverged, 80.00 ms (1.60 x MO), it [did], 4 of 12 trials, hypervolume "
    )
    assert "\x1b" not in console.file.getvalue()
