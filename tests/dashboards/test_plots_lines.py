"""Learning curves and parallel coordinates: which line is whose, and what stands at the axes."""

from __future__ import annotations

import math

from studies import Made, baselines, genomes, make_study, rung

from dashboards.plots.curves import compute_curves, draw_curves
from dashboards.plots.parallel import compute_parallel, draw_parallel
from dashboards.study.records import StudyRecords, read_records


def on_rungs() -> StudyRecords:
    mo = Made(
        baseline="MO",
        psnr_db=27.0,
        latency_ms=50.0,
        rungs=[rung(100, 24.0, "exempt"), rung(300, 27.0, "end")],
    )
    best = Made(psnr_db=28.0, latency_ms=20.0, rungs=[rung(100, 25.0), rung(300, 28.0, "end")])
    worse = Made(psnr_db=26.0, latency_ms=60.0, rungs=[rung(100, 23.0), rung(300, 26.0, "end")])
    stopped = Made(
        kind="stopped", psnr_db=20.0, latency_ms=30.0, rungs=[rung(100, 20.0, "stopped")]
    )
    return read_records(
        make_study([mo, best, worse, stopped, Made(psnr_db=25.0, latency_ms=30.0)])
    )


def test_each_network_with_rungs_is_a_curve() -> None:
    data = compute_curves(on_rungs())
    found = [(c.number, c.group, len(c.rungs)) for c in data.curves]
    assert found == [(0, "baseline", 2), (1, "front", 2), (2, "other", 2), (3, "other", 1)]
    assert (
        "4 networks at their rungs; 1 was stopped early, one was exempt. Stopped at step 100: 1."
        in data.caption
    )
    columns, rows = data.table()
    assert len(rows) == 7 and rows[-1][columns.index("decision")] == "stopped"


def test_curves_are_drawn_with_gaps_and_signs() -> None:
    drawn = {trace.name: trace for trace in draw_curves(compute_curves(on_rungs())).data}
    assert list(drawn["searched"].x) == [100, 300, None, 100, None] and list(
        drawn["searched"].customdata
    ) == [2, 2, 2, 3, 3]
    assert list(drawn["Pareto front"].y) == [25.0, 28.0, None] and drawn["MO"].line.dash == "solid"
    assert (
        list(drawn["stopped here"].customdata) == [3]
        and drawn["stopped here"].marker.symbol == "x"
    )
    assert list(drawn["exempt from stopping"].customdata) == [0]


def test_rungs_are_the_ticks_and_far_ones_are_on_a_logarithmic_axis() -> None:
    axis = draw_curves(compute_curves(on_rungs())).layout.xaxis
    assert list(axis.tickvals) == [100, 300] and axis.type == "linear"
    far = baselines(rungs=[rung(17, 20.0), rung(150, 21.0), rung(1350, 22.0, "end")])
    axis = draw_curves(compute_curves(read_records(make_study(far)))).layout.xaxis
    assert list(axis.ticktext) == ["17", "150", "1,350"] and axis.type == "log"


def test_the_seeds_have_dashes_of_their_own() -> None:
    data = compute_curves(
        read_records(make_study(baselines(rungs=[rung(1, 20.0), rung(2, 21.0, "end")])))
    )
    assert (
        len(
            {
                trace.line.dash
                for trace in draw_curves(data).data
                if trace.name in ("MO", "M1", "M2")
            }
        )
        == 3
    )


def test_a_study_without_rungs_says_so() -> None:
    assert "no rungs" in (compute_curves(read_records(make_study(baselines()))).missing or "")


def test_lines_are_in_the_order_of_the_trials() -> None:
    made = [
        Made(genome=genome, psnr_db=20.0 + place, latency_ms=90.0 - place)
        for place, genome in enumerate(genomes(5))
    ]
    data = compute_parallel(read_records(make_study([Made(kind="error"), *made, *baselines()])))
    assert data.numbers == (1, 2, 3, 4, 5, 6, 7, 8)
    columns, rows = data.table()
    assert [row[columns.index("psnr_db")] for row in rows] == [20, 21, 22, 23, 24, 27, 28, 28.2]
    assert [row[columns.index("group")] for row in rows] == ["searched"] * 5 + ["baseline"] * 3
    assert list(draw_parallel(data).data[0].line.color) == [0] * 5 + [2] * 3


def test_axes_are_logarithmic_or_words() -> None:
    data = compute_parallel(read_records(make_study(baselines())))
    axes = {axis.column: axis for axis in data.axes}
    ratio = axes["ratio_to_mo"]
    assert ratio.values == (1.0, 2.2, 3.8) and ratio.heights == tuple(map(math.log2, ratio.values))
    assert (ratio.tick_texts, ratio.tick_heights) == (("1", "2"), (0, 1))
    scales = axes["scales"]
    assert scales.values[0] == "32x" and scales.tick_texts[int(scales.heights[0])] == "32x"
    assert axes["fusion"].tick_texts[0] == "off" and data.width_px == 76 * len(data.axes)


def test_the_ticks_of_psnr_are_few_and_round() -> None:
    def ticks_of(*psnr_db: float) -> tuple[str, ...]:
        made = [Made(psnr_db=one, latency_ms=9.0) for one in psnr_db]
        return compute_parallel(read_records(make_study(made))).axes[1].tick_texts

    assert ticks_of(21.9, 24.7) == ("22", "22.5", "23", "23.5", "24", "24.5")
    assert ticks_of(20.0, 29.0) == tuple(map(str, range(20, 30)))
    assert ticks_of(24.0, 25.5) == ("24", "24.5", "25", "25.5")


def test_where_importance_is_known_its_genes_are_the_axes() -> None:
    made = [
        Made(
            genome=genome,
            psnr_db=20.0 + genome.skip_width / 8,
            latency_ms=50.0 + genome.skip_width,
        )
        for genome in genomes(60)
    ]
    data = compute_parallel(read_records(make_study(made)))
    assert (
        data.axes[5].label == "skip width"
        and len(data.axes) == 11
        and "matter most" in data.caption
    )


def test_networks_without_a_genome_have_no_gene_axes() -> None:
    data = compute_parallel(
        read_records(make_study([Made(psnr_db=20.0, latency_ms=9.0), *baselines()]))
    )
    assert [axis.column for axis in data.axes] == [
        "group",
        "psnr_db",
        "ratio_to_mo",
        "parameters_m",
        "gmac",
    ]
    draw_parallel(data)


def test_equal_figures_still_have_axes() -> None:
    same = [Made(genome=genome, psnr_db=20.0, latency_ms=50.0) for genome in genomes(3)]
    draw_parallel(compute_parallel(read_records(make_study(same))))
