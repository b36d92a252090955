"""The front's growth, by hand."""

from __future__ import annotations

import dataclasses
import math

import pytest
from studies import Made, baselines, make_study

from dashboards.plots.hypervolume import compute_hypervolume, draw_hypervolume
from dashboards.study.records import read_records


def test_a_study_grows_trial_by_trial() -> None:
    made = [
        *baselines(),
        Made(kind="diverged", train_seconds=7.0),
        Made(psnr_db=26.0, latency_ms=12.5, train_seconds=10.0),
        Made(psnr_db=26.0, latency_ms=12.5, repeat_of=4, train_seconds=10.0),
        Made(kind="running"),
    ]
    data = compute_hypervolume(read_records(make_study(made)))
    mo, m1, m2 = 7 * 3, 1 * math.log2(400 / 110), 0.2 * math.log2(400 / 190)
    after = [mo, mo + m1, mo + m1 + m2]
    more = 6 * 5 + 1 * 3 + m1 + m2  # 26 dB at a 32nd of the reference, then MO's last dB
    assert [s.hypervolume for s in data.steps] == pytest.approx([*after, after[2], more, more])
    assert [s.train_seconds for s in data.steps] == [20, 40, 60, 67, 77, 77]
    assert [s.trials for s in data.steps] == [1, 2, 3, 4, 5, 6]
    assert [s.grew for s in data.steps] == [True, True, True, False, True, False]
    assert data.baselines_alone == pytest.approx(after[2])
    assert f"{more:.2f} dB × octaves after 6 trials" in data.caption
    assert "The last trial added nothing" in data.caption


def test_it_counts_in_the_order_of_ending_and_within_the_limit() -> None:
    made = [*baselines(), Made(psnr_db=30.0, latency_ms=100.0)]
    records = read_records(make_study(made, config={"latency_limit_ms": 60}))
    first, *rest = records.records
    assert first.ended_at is not None and rest[-1].ended_at is not None
    late = dataclasses.replace(first, ended_at=rest[-1].ended_at.replace(year=2027))
    data = compute_hypervolume(dataclasses.replace(records, records=(late, *rest)))
    assert [s.record.number for s in data.steps] == [1, 2, 3, 0]
    assert [s.hypervolume for s in data.steps] == pytest.approx([0, 0, 0, 21])


def test_without_mo_there_is_no_reference() -> None:
    study = make_study([Made(psnr_db=26.0, latency_ms=12.5)], reference=None)
    assert "MO was not measured" in (compute_hypervolume(read_records(study)).missing or "")


@pytest.mark.parametrize(
    ("seconds", "unit"), [(20.0, "seconds"), (200.0, "minutes"), (7000.0, "hours")]
)
def test_the_axis_is_in_a_unit_that_suits(seconds: float, unit: str) -> None:
    study = read_records(make_study(baselines(train_seconds=seconds)))
    figure = draw_hypervolume(compute_hypervolume(study))
    assert figure.layout.xaxis.title.text == f"training spent, {unit}"
    assert list(figure.data[0].customdata) == [0, 1, 2] and figure.data[0].line.shape == "hv"
