"""Learning curves and parallel coordinates: which line is whose, and what stands at the axes."""

from __future__ import annotations

import math

from studies import Made, baselines, genomes, make_study, rung

from dashboards.plots.curves import CurvesData, compute_curves, draw_curves
from dashboards.plots.parallel import ParallelData, compute_parallel, draw_parallel
from dashboards.study.records import read_records


def curves(made: list[Made]) -> CurvesData:
    return compute_curves(read_records(make_study(made)))


def parallel(made: list[Made]) -> ParallelData:
    return compute_parallel(read_records(make_study(made)))


def with_rungs() -> CurvesData:
    """MO, one on the front, one behind it, one stopped, and one without rungs."""

    def finished(first_db: float, psnr_db: float, decision: str = "on") -> dict[str, object]:
        rungs = [rung(100, first_db, decision), rung(300, psnr_db, "end")]
        return {"psnr_db": psnr_db, "rungs": rungs}

    stopped = [rung(100, 20.0, "stopped")]
    return curves(
        [
            Made(baseline="MO", latency_ms=50.0, **finished(24.0, 27.0, "exempt")),
            Made(latency_ms=20.0, **finished(25.0, 28.0)),
            Made(latency_ms=60.0, **finished(23.0, 26.0)),
            Made(kind="stopped", psnr_db=20.0, latency_ms=30.0, rungs=stopped),
            Made(psnr_db=25.0, latency_ms=30.0),
        ]
    )


def test_each_network_with_rungs_is_a_curve() -> None:
    data = with_rungs()
    groups = [(curve.record.number, curve.group, len(curve.rungs)) for curve in data.curves]
    assert groups == [(0, "baseline", 2), (1, "front", 2), (2, "other", 2), (3, "other", 1)]
    assert data.caption.startswith(
        "4 networks at their rungs; 1 was stopped early, one was exempt. Stopped at step 100: 1."
    )
    columns, rows = data.table()
    assert len(rows) == 7 and rows[-1][columns.index("decision")] == "stopped"


def test_curves_are_drawn_with_gaps_and_symbols() -> None:
    traces = {trace.name: trace for trace in draw_curves(with_rungs()).data}
    assert list(traces["searched"].x) == [100, 300, None, 100, None]
    assert list(traces["searched"].customdata) == [2, 2, 2, 3, 3]
    assert list(traces["Pareto front"].y) == [25.0, 28.0, None]
    assert traces["MO"].line.dash == "solid" and traces["stopped here"].marker.symbol == "x"
    assert list(traces["stopped here"].customdata) == [3]
    assert list(traces["exempt from stopping"].customdata) == [0]


def test_rungs_are_the_ticks_and_far_ones_are_on_a_logarithmic_axis() -> None:
    axis = draw_curves(with_rungs()).layout.xaxis
    assert list(axis.tickvals) == [100, 300] and axis.type == "linear"
    far = baselines(rungs=[rung(17, 20.0), rung(150, 21.0), rung(1350, 22.0, "end")])
    axis = draw_curves(curves(far)).layout.xaxis
    assert list(axis.ticktext) == ["17", "150", "1,350"] and axis.type == "log"


def test_the_baselines_have_dashes_of_their_own() -> None:
    figure = draw_curves(curves(baselines(rungs=[rung(1, 20.0), rung(2, 21.0, "end")])))
    assert len({trace.line.dash for trace in figure.select_traces({"mode": "lines+markers"})}) == 3


def test_a_study_without_rungs_says_so() -> None:
    assert "no rungs" in (curves(baselines()).missing or "")


def test_lines_are_in_the_order_of_the_trials() -> None:
    made = [
        Made(genome=genome, psnr_db=20.0 + index, latency_ms=90.0 - index)
        for index, genome in enumerate(genomes(5))
    ]
    data = parallel([Made(kind="error"), *made, *baselines()])
    assert data.numbers == (1, 2, 3, 4, 5, 6, 7, 8)
    columns, rows = data.table()
    assert [row[columns.index("psnr_db")] for row in rows] == [20, 21, 22, 23, 24, 27, 28, 28.2]
    assert [row[columns.index("group")] for row in rows] == ["searched"] * 5 + ["baseline"] * 3
    assert list(draw_parallel(data).data[0].line.color) == [0] * 5 + [2] * 3


def test_axes_are_logarithmic_or_categories() -> None:
    axes = {axis.column: axis for axis in parallel(baselines()).axes}
    ratio, scales = axes["ratio_to_mo"], axes["scales"]
    assert ratio.values == (1.0, 2.2, 3.8) and ratio.heights == tuple(map(math.log2, ratio.values))
    assert ratio.ticks == ((0, "1"), (1, "2"))
    assert scales.values[0] == "32x" and (scales.heights[0], "32x") in scales.ticks
    assert axes["fusion"].ticks[0] == (0, "off")


def test_the_ticks_of_psnr_are_few_and_round() -> None:
    def ticks_of(*psnr_db: float) -> list[str]:
        axis = parallel([Made(psnr_db=one, latency_ms=9.0) for one in psnr_db]).axes[1]
        return [text for _, text in axis.ticks]

    assert ticks_of(21.9, 24.7) == ["22", "22.5", "23", "23.5", "24", "24.5"]
    assert ticks_of(20.0, 29.0) == list(map(str, range(20, 30)))
    assert ticks_of(24.0, 25.5) == ["24", "24.5", "25", "25.5"]


def test_where_importance_is_known_its_genes_are_the_axes() -> None:
    data = parallel(
        [
            Made(genome=one, psnr_db=20.0 + one.skip_width / 8, latency_ms=50.0 + one.skip_width)
            for one in genomes(60)
        ]
    )
    assert data.axes[5].label == "skip width" and len(data.axes) == 11
    assert "matter most" in data.caption


def test_networks_without_a_genome_have_no_gene_axes() -> None:
    data = parallel([Made(psnr_db=20.0, latency_ms=9.0), *baselines()])
    columns = ["group", "psnr_db", "ratio_to_mo", "parameters_m", "gmac"]
    assert [axis.column for axis in data.axes] == columns
    draw_parallel(data)


def test_equal_figures_still_have_axes() -> None:
    same = [Made(genome=genome, psnr_db=20.0, latency_ms=50.0) for genome in genomes(3)]
    draw_parallel(parallel(same))
