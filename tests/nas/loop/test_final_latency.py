"""At a search's end the front is timed again, all its networks in one run; that is what is quoted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from stand_ins import Command, Measure, Runner, mo_latency_ms

from nas.study.pareto import front_rows
from nas.study.records import read_rows
from trials.device.errors import DeviceLostError

Read = Callable[[], optuna.Study]


def test_the_front_is_timed_again_and_quoted(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    measure = Measure(factor=0.9)
    assert run_search(measure=measure) == 0
    told = capsys.readouterr().out
    front = [row for row in front_rows(read_rows(read_study())) if row.baseline != "MO"]
    assert measure.calls == [len(front)] and all(row.remeasured for row in front)
    assert (
        f"timing {len(front)} network" in told
        and "of the front again, in turn with MO in one run" in told
    )
    stored = read_study().user_attrs["final_latency"]
    assert (
        stored.keys() == {"mo", *(row.digest for row in front)}
        and stored["mo"]["latency"]["median_ms"] > 0
    )
    for row in front:
        trial = read_study().trials[row.number]
        assert row.ratio_to_mo == pytest.approx(0.9 * trial.user_attrs["ratio_to_mo"])
        assert row.latency_ms == pytest.approx(row.ratio_to_mo * mo_latency_ms())
        assert row.ratio_interval == pytest.approx(
            (0.99 * row.ratio_to_mo, 1.01 * row.ratio_to_mo)
        )
        assert f"{row.ratio_to_mo:.2f}" in told.split("Pareto front")[1]
        assert trial.values[1] == pytest.approx(
            trial.user_attrs["ratio_to_mo"] * mo_latency_ms()
        ), "as Optuna was told"


def test_only_what_is_new_on_the_front_is_timed(run_search: Command, read_study: Read) -> None:
    first, again = Measure(), Measure()
    run_search(measure=first)
    known = set(read_study().user_attrs["final_latency"])
    assert run_search(measure=again) == 0 and again.calls == []
    assert run_search("--trials", 9, measure=again) == 0
    now = set(read_study().user_attrs["final_latency"])
    assert known <= now and sum(again.calls) == len(now - known)


def test_a_search_stopped_while_it_times_the_front_does_it_the_next_time(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_search(measure=Measure(fails=lambda networks: KeyboardInterrupt())) == 130
    assert "final_latency" not in read_study().user_attrs
    assert all(row.kind == "complete" for row in read_rows(read_study())), (
        "nothing finished is lost"
    )
    measure, runner = Measure(), Runner()
    assert run_search(measure=measure, runner=runner) == 0
    assert len(measure.calls) == 1 and not runner.calls
    assert "5 trials were finished already" in capsys.readouterr().out.replace("all 5", "5")


def test_too_much_for_the_memory_at_once_is_timed_one_by_one(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(networks: int) -> BaseException | None:
        return MemoryError() if networks > 1 or len(measure.calls) == 2 else None

    measure = Measure(fails=fails)
    assert run_search("--trials", 8, measure=measure) == 0
    front = [row for row in front_rows(read_rows(read_study())) if row.baseline != "MO"]
    assert len(front) >= 2, "the stand-in's front has several networks"
    assert measure.calls == [len(measure.calls) - 1] + [1] * (len(measure.calls) - 1)
    assert (
        capsys.readouterr().out.count(
            "was not timed again: out of memory; its trial's own figure stays"
        )
        == 1
    )
    assert len(read_study().user_attrs["final_latency"]) == len(measure.calls) - 1


def test_a_vanished_device_stops_the_search_in_one_line_and_it_goes_on(
    run_search: Command, read_study: Read, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = DeviceLostError(
        "the device must answer until the end, but cuda:0 no longer does (CUDA error)"
    )
    assert run_search(runner=Runner(script=["complete", gone])) == 2
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == f"error: {gone}"
    rows = read_rows(read_study())
    assert [row.kind for row in rows[:2]] == ["complete", "interrupted"], "put back, not failed"
    assert run_search() == 0
    assert [row.baseline for row in read_rows(read_study()) if row.kind == "complete"][:3] == [
        "MO",
        "M2",
        "M1",
    ]


def test_what_is_quoted_is_drawn(run_search: Command, runs: Path, tmp_path: Path) -> None:
    from dashboards.study.reader import open_study
    from dashboards.study.records import read_records
    from nas.study.storage import default_url

    run_search(measure=Measure(factor=0.8))
    study: Any = open_study("tiny", default_url(runs / "tiny"))
    rows = {row.number: row for row in read_rows(study)}
    assert {p.number: p.latency_ms for p in read_records(study).points} == pytest.approx(
        {n: row.latency_ms for n, row in rows.items()}
    )


def test_a_network_that_comes_onto_the_front_by_it_is_timed_too(
    run_search: Command, read_study: Read
) -> None:
    """Timed again all of the front proves twice as slow as its trials said; what then is on it is
    timed as well.
    """
    measure = Measure(factor=2.0)
    assert run_search("--trials", 8, measure=measure) == 0
    front = [row for row in front_rows(read_rows(read_study())) if row.baseline != "MO"]
    assert len(measure.calls) >= 2 and all(row.remeasured for row in front)
