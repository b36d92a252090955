"""PSNR against latency and against the ratio to MO: the numbers, what is drawn of them, and that
everybody can see it.
"""

from __future__ import annotations

import optuna
import plotly.graph_objects as go
import pytest
from studies import Made, baselines, genomes, make_study, rung

from dashboards.plots import DARK, LIGHT, PLOTS
from dashboards.plots.front import compute_front, draw_front
from dashboards.plots.ratio import compute_ratio, draw_ratio, octave_ticks
from dashboards.plots.style import COLOURS, PAPER_DARK, PAPER_LIGHT, log_ticks
from dashboards.study.records import StudyRecords, read_records

RUNGS = [rung(100, 21.0), rung(200, 22.5, "stopped")]
STOPPED = Made(kind="stopped", psnr_db=22.5, latency_ms=30.0, rungs=RUNGS)


def read(made: list[Made], **attrs: object) -> StudyRecords:
    return read_records(make_study(made, **attrs))


def few() -> StudyRecords:
    """MO, M1, M2; 3 fast, 4 dominated, 5 stopped, 6 over the limit, 7 a repeat of 3."""
    return read(
        [
            *baselines(),
            Made(psnr_db=26.0, latency_ms=12.5, interval=(0.8, 1.25)),
            Made(psnr_db=26.5, latency_ms=60.0),
            STOPPED,
            Made(kind="over_limit", latency_ms=900.0),
            Made(psnr_db=26.0, latency_ms=12.5, repeat_of=3),
        ]
    )


def traces_of_the_front() -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in draw_front(compute_front(few())).data}


def test_the_front_is_not_dominated_and_stopped_networks_are_not_on_it() -> None:
    data = compute_front(few())
    on_front = {point.number: point.on_front for point in data.points}
    assert list(on_front.items()) == [(3, True), (0, True), (4, False), (1, True), (2, True)]
    assert [(p.number, p.psnr_db) for p in data.stopped] == [(5, 22.5)]
    ends = "4 of them are on the front, from 26.00 dB in 12.5 ms to 28.20 dB in 190.0 ms"
    for words in ("5 networks", "One more was stopped early", ends):
        assert words in data.caption


def test_every_dot_has_its_trial_and_the_stopped_are_faint() -> None:
    traces = traces_of_the_front()
    assert list(traces["searched"].customdata) == [4]
    assert list(traces["Pareto front"].customdata) == [3, 0, 1, 2]
    faint = traces["stopped early (PSNR so far)"]
    assert list(faint.customdata) == [5] and list(faint.y) == [22.5] and faint.opacity < 0.6
    assert faint.marker.symbol == "circle-open" and "stopped at step 200" in faint.hovertext[0]


def test_bars_are_drawn_where_an_interval_is_wider_than_its_dot() -> None:
    bars = traces_of_the_front()["Pareto front"].error_x
    assert list(bars.array) == pytest.approx([12.5 * 0.25, 0, 0, 0])
    assert list(bars.arrayminus) == pytest.approx([2.5, 0, 0, 0])


def test_the_names_at_the_right_edge_stay_inside() -> None:
    named = traces_of_the_front()["MO, M1, M2"]
    assert list(named.text) == ["MO", "M1", "M2"]
    assert list(named.textposition) == ["bottom right", "bottom right", "bottom left"]


def test_a_limit_is_drawn_and_in_the_caption() -> None:
    data = compute_front(read(baselines(), config={"latency_limit_ms": 120}))
    assert "within the limit of 120 ms" in data.caption
    assert [point.on_front for point in data.points] == [True, True, False]
    assert [shape.x0 for shape in draw_front(data).layout.shapes] == [120]


def test_the_ratio_has_mo_at_one_and_octaves_as_ticks() -> None:
    data = compute_ratio(few())
    assert [point.ratio_to_mo for point in data.points] == [0.25, 1.0, 1.2, 2.2, 3.8]
    assert "1 of 5 networks is faster than MO" in data.caption
    assert "None of those also restore better than MO's 27.00 dB" in data.caption
    axis = draw_ratio(data).layout.xaxis
    assert list(axis.ticktext) == ["1/4", "1/2", "1", "2", "4"]
    assert list(axis.tickvals) == [0.25, 0.5, 1, 2, 4]


def test_octave_ticks() -> None:
    ticks, labels = octave_ticks(0.12, 9.0)
    assert ticks == [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0]
    assert labels == ["1/8", "1/4", "1/2", "1", "2", "4", "8"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(9, 230, [10, 20, 50, 100, 200]), (21, 45, [30, 40]), (0.4, 6, [0.5, 1, 2, 5])],
)
def test_log_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == ticks


def test_without_ratios_there_is_a_sentence() -> None:
    attrs = {"ratio_to_mo": None, "ratio_to_mo_interval": None}
    study = read([Made(psnr_db=26.0, latency_ms=12.5, attrs=attrs)])
    assert compute_front(study).points[0].latency_ms == 12.5
    assert "timed in turn with MO" in (compute_ratio(study).missing or "")


@pytest.mark.parametrize(
    "made",
    [[], [Made(kind="running")], [Made(kind="diverged", latency_ms=3.0)], [STOPPED]],
    ids=len,
)
def test_a_study_without_networks_has_a_sentence_for_each_plot(made: list[Made]) -> None:
    for plot in PLOTS:
        missing = plot.compute(read(made)).missing
        if plot.name == "curves" and made == [STOPPED]:
            assert missing is None
        else:
            assert missing and missing.endswith(".") and "\n" not in missing, plot.name


def test_a_study_of_another_tool_has_a_sentence_for_each_plot() -> None:
    other = optuna.create_study(study_name="lr", directions=["minimize"])
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    for plot in PLOTS:
        assert plot.compute(read_records(other)).missing, plot.name
    assert "not made by nas.search" in (compute_front(read_records(other)).missing or "")


def test_one_network_is_enough_to_draw_and_tables_fit_their_columns() -> None:
    rungs = [rung(10, 20.0), rung(20, 26.0, "end")]
    mo = {"baseline": "MO", "genome": genomes(1)[0]}
    for study in (few(), read([Made(psnr_db=26.0, latency_ms=50.0, rungs=rungs, **mo)])):
        drawn = 0
        for plot in PLOTS:
            data = plot.compute(study)
            if data.missing is None:
                drawn += 1
                columns, rows = data.table()
                assert rows and {len(row) for row in rows} == {len(columns)}
                assert len(set(columns)) == len(columns) and data.caption
                layout = plot.draw(data).layout
                assert layout.width is layout.height is layout.title.text is None
                assert layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
        assert drawn == 5


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("paper", [PAPER_LIGHT, PAPER_DARK])
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_are_seen_on_both_papers(colour: str, paper: str) -> None:
    assert contrast(colour, paper) >= 3


def test_text_is_read_on_both_papers() -> None:
    for template, paper in ((LIGHT, PAPER_LIGHT), (DARK, PAPER_DARK)):
        assert contrast(template.layout.font.color, paper) > 7
