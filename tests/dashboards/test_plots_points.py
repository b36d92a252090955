"""PSNR against latency and against the ratio to MO: the numbers, what is drawn of them, and how it
looks to everybody.
"""

from __future__ import annotations

import optuna
import plotly.graph_objects as go
import pytest
from studies import Made, baselines, genomes, make_study, rung

from dashboards.plots import DARK, LIGHT, PLOTS
from dashboards.plots.front import compute_front, draw_front
from dashboards.plots.ratio import compute_ratio, draw_ratio, octaves
from dashboards.plots.style import COLOURS, PAPER_DARK, PAPER_LIGHT, ticks
from dashboards.study.records import StudyRecords, read_records

STOPPED = Made(
    kind="stopped",
    psnr_db=22.5,
    latency_ms=30.0,
    rungs=[rung(100, 21.0), rung(200, 22.5, "stopped")],
)


def read(made: list[Made], **attrs: object) -> StudyRecords:
    return read_records(make_study(made, **attrs))


def few() -> StudyRecords:
    """MO, M1, M2; 3 fast, 4 beaten, 5 stopped, 6 over the limit, 7 a repeat of 3."""
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


def traces(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data}


def test_the_front_is_what_nothing_beats_and_stopped_networks_are_not_on_it() -> None:
    data = compute_front(few())
    assert [(p.number, p.on_front) for p in data.points] == [
        (3, True),
        (0, True),
        (4, False),
        (1, True),
        (2, True),
    ]
    assert [(p.number, p.psnr_db) for p in data.stopped] == [(5, 22.5)]
    assert "5 networks" in data.caption and "One more was stopped early" in data.caption
    assert (
        "4 of them are on the front, from 26.00 dB in 12.5 ms to 28.20 dB in 190.0 ms"
        in data.caption
    )


def test_every_dot_knows_its_trial_and_the_stopped_are_faint() -> None:
    drawn = traces(draw_front(compute_front(few())))
    assert list(drawn["searched"].customdata) == [4] and list(
        drawn["Pareto front"].customdata
    ) == [3, 0, 1, 2]
    assert list(drawn["MO, M1, M2"].text) == ["MO", "M1", "M2"]
    faint = drawn["stopped early (PSNR so far)"]
    assert list(faint.customdata) == [5] and list(faint.y) == [22.5] and faint.opacity < 0.6
    assert faint.marker.symbol == "circle-open" and "stopped at step 200" in faint.hovertext[0]


def test_bars_are_drawn_where_an_interval_is_wider_than_its_dot() -> None:
    bars = traces(draw_front(compute_front(few())))["Pareto front"].error_x
    assert list(bars.array) == pytest.approx([12.5 * 0.25, 0, 0, 0]) and list(
        bars.arrayminus
    ) == pytest.approx([2.5, 0, 0, 0])


def test_the_names_at_the_right_edge_stay_inside() -> None:
    assert list(traces(draw_front(compute_front(few())))["MO, M1, M2"].textposition) == [
        "bottom right",
        "bottom right",
        "bottom left",
    ]


def test_a_limit_is_drawn_and_told() -> None:
    study = read(baselines(), config={"latency_limit_ms": 120})
    data = compute_front(study)
    assert "within the limit of 120 ms" in data.caption and [p.on_front for p in data.points] == [
        True,
        True,
        False,
    ]
    assert [shape.x0 for shape in draw_front(data).layout.shapes] == [120]


def test_the_ratio_has_mo_at_one_and_octaves_as_ticks() -> None:
    data = compute_ratio(few())
    assert [p.ratio_to_mo for p in data.points] == [0.25, 1.0, 1.2, 2.2, 3.8]
    assert "1 of 5 networks is faster than MO" in data.caption
    assert "None of those also restore better than MO's 27.00 dB" in data.caption
    axis = draw_ratio(data).layout.xaxis
    assert list(axis.ticktext) == ["1/4", "1/2", "1", "2", "4"] and list(axis.tickvals) == [
        0.25,
        0.5,
        1,
        2,
        4,
    ]


def test_octaves() -> None:
    assert octaves(0.12, 9.0) == (
        [0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0],
        ["1/8", "1/4", "1/2", "1", "2", "4", "8"],
    )


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(9, 230, [10, 20, 50, 100, 200]), (21, 45, [30, 40]), (0.4, 6, [0.5, 1, 2, 5])],
)
def test_ticks(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high) == found


def test_without_ratios_there_is_a_sentence() -> None:
    study = read(
        [
            Made(
                psnr_db=26.0,
                latency_ms=12.5,
                attrs={"ratio_to_mo": None, "ratio_to_mo_interval": None},
            )
        ]
    )
    assert compute_front(study).points[0].latency_ms == 12.5
    assert "timed in turn with MO" in (compute_ratio(study).missing or "")


@pytest.mark.parametrize(
    "made",
    [[], [Made(kind="running")], [Made(kind="diverged", latency_ms=3.0)], [STOPPED]],
    ids=len,
)
def test_a_study_without_networks_has_a_sentence_for_each_plot(made: list[Made]) -> None:
    for plot in PLOTS:
        data = plot.compute(read(made))
        if plot.name == "curves" and made == [STOPPED]:
            assert data.missing is None
        else:
            assert data.missing and data.missing.endswith(".") and "\n" not in data.missing, (
                plot.name
            )


def test_a_study_of_another_tool_is_told() -> None:
    other = optuna.create_study(study_name="lr", directions=["minimize"])
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    for plot in PLOTS:
        assert plot.compute(read_records(other)).missing, plot.name
    assert "not made by nas.search" in (compute_front(read_records(other)).missing or "")


def test_one_network_is_enough_to_draw_and_tables_fit_their_columns() -> None:
    rungs = [rung(10, 20.0), rung(20, 26.0, "end")]
    for study in (
        few(),
        read([Made(psnr_db=26.0, latency_ms=50.0, baseline="MO", genome=genomes(1)[0], rungs=rungs)]),
    ):
        drawn = 0
        for plot in PLOTS:
            data = plot.compute(study)
            if data.missing is None:
                drawn += 1
                columns, rows = data.table()
                assert (
                    rows
                    and all(len(row) == len(columns) for row in rows)
                    and len(set(columns)) == len(columns)
                )
                figure = plot.draw(data)
                assert (
                    figure.layout.width is None
                    and figure.layout.height is None
                    and figure.layout.title.text is None
                )
                assert (
                    figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)" and data.caption
                )
                figure.update_layout(template=DARK).to_json()
        assert drawn == 5


def luminance(colour: str) -> float:
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("paper", [PAPER_LIGHT, PAPER_DARK])
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_are_seen_on_both_papers(colour: str, paper: str) -> None:
    assert contrast(colour, paper) >= 3


def test_text_is_read_on_both_papers() -> None:
    assert (
        contrast(LIGHT.layout.font.color, PAPER_LIGHT) > 7
        and contrast(DARK.layout.font.color, PAPER_DARK) > 7
    )
