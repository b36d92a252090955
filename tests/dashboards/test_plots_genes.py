"""Which genes matter and what their choices go with: on studies whose answer is known."""

from __future__ import annotations

import json
import random
import sys
import time

import numpy as np
import pytest
from studies import Made, baselines, genomes, make_study, rung

from dashboards.plots import PLOTS
from dashboards.plots.effects import compute_effects, draw_effects, effects_of
from dashboards.plots.forest import explain
from dashboards.plots.genes import flat, levels, summary, varying
from dashboards.plots.importance import compute_importance, draw_importance
from dashboards.study.records import StudyRecords, read_records
from space import BASELINES


def known(count: int, *, noise_db: float = 0.1, psnr: bool = True) -> StudyRecords:
    """Networks whose PSNR goes with the trunk's width (or with nothing), and whose latency doubles
    with a branch at 32x.
    """
    chance = random.Random(1)
    made = list(baselines()) if psnr else []  # they stand out
    for genome in genomes(count):
        deep = any(branch.scale == 32 for branch in genome.branches)
        psnr_db = 25 + chance.gauss(0, noise_db) + (genome.skip_width / 16 if psnr else 0)
        made.append(
            Made(
                genome=genome,
                psnr_db=psnr_db,
                latency_ms=(40.0 if deep else 20.0) * 2 ** chance.gauss(0, 0.1),
            )
        )
    return read_records(make_study(made))


@pytest.fixture(scope="module")
def study() -> StudyRecords:
    return known(150)


def test_a_genome_as_a_row() -> None:
    row = flat(json.loads(BASELINES["MO"].to_json()))
    assert (
        row["32x branch"] == "yes"
        and row["8x branch"] == "no"
        and "8x blocks" not in row
        and "fusion" not in row
    )
    assert (
        row["32x blocks"],
        row["32x layers"],
        row["32x shorter first block"],
        row["32x refine"],
    ) == (3, 5, "yes", "no")
    assert (
        row["4x stage"] == "no" and flat({"fine_width": 8, "fine_blocks": 0})["4x stage"] == "yes"
    )
    assert (
        row["skip width"] == 64
        and row["merge shuffle"] == "yes"
        and "schema" not in row
        and "32x first layers" not in row
    )


def test_a_genome_in_a_few_figures() -> None:
    assert summary(json.loads(BASELINES["MO"].to_json())) == {
        "scales": "32x",
        "branches": 1,
        "dense blocks": 3,
        "dense layers": 5,
        "growth": 32,
        "skip width": 64,
        "fusion": "off",
        "head": "concat",
    }
    assert summary({"branches": [], "skip_width": 16, "head": "none"})["scales"] == "trunk only"


def test_choices_in_order_and_genes_that_vary() -> None:
    rows = [{"a": 8, "b": "x", "c": 1}, {"a": 16, "c": 1}, {"a": 4, "b": "y", "c": 1}]
    assert (
        levels(rows, "a") == [4, 8, 16]
        and levels(rows, "b") == ["x", "y"]
        and varying(rows) == ["a", "b"]
    )


def test_effects_by_hand() -> None:
    """Of ten networks with the gene five are wide: 2 dB better and an octave slower than the
    others.
    """
    rows = [{"width": 8}] * 5 + [{"width": 16}] * 5 + [{"other": 1}] * 4
    figures = np.array([[20.0, 0.0]] * 5 + [[22.0, 1.0]] * 5 + [[90.0, 9.0]] * 4)
    narrow, wide = effects_of("width", rows, figures)
    assert (narrow.choice, narrow.networks, wide.choice, wide.networks) == (8, 5, 16, 5)
    assert narrow.psnr_db and wide.psnr_db and wide.octaves
    assert (narrow.psnr_db.mean, wide.psnr_db.mean, wide.octaves.mean) == pytest.approx(
        (-1, 1, 0.5)
    )
    assert wide.psnr_db.low < 1 < wide.psnr_db.high


def test_a_choice_of_four_networks_has_no_interval() -> None:
    few, many = effects_of("a", [{"a": 1}] * 4 + [{"a": 2}] * 9, np.ones((13, 2)))
    assert few.psnr_db is None and few.networks == 4 and many.psnr_db is not None


def test_the_interval_of_an_effect_holds_the_truth_as_often_as_it_says() -> None:
    """40 studies in which a choice does nothing: nearly all intervals must hold 0, and a few may
    not.
    """
    chance = np.random.default_rng(3)
    rows = [{"a": place % 2} for place in range(60)]
    held = 0
    for _ in range(40):
        found = effects_of("a", rows, chance.normal(size=(60, 2)))[0].psnr_db
        held += found is not None and found.low <= 0 <= found.high
    assert 34 <= held <= 40


def test_shares_are_those_of_the_variance() -> None:
    """y = 3a + 2b + noise of independent genes: their shares are 9/14 and 4/14, and nothing goes
    with c.
    """
    chance = np.random.default_rng(0)
    genes = chance.integers(0, 2, size=(600, 3))
    rows = [{"a": int(a), "b": int(b), "c": int(c)} for a, b, c in genes]
    values = 3 * genes[:, 0] + 2 * genes[:, 1] + chance.normal(0, 0.5, 600)
    found = explain(rows, ["a", "b", "c"], list(values))
    variance = values.var()
    assert found.r2 == pytest.approx(1 - 0.25 / variance, abs=0.03)
    for gene, weight in (("a", 9), ("b", 4), ("c", 0)):
        assert found.share[gene] == pytest.approx(weight / 4 / variance, abs=0.06), gene
    assert found.low["a"] > 0.4 and found.low["b"] > 0.1 and found.low["c"] <= 0.01
    assert found.low["a"] < found.share["a"] < found.high["a"]


def test_a_gene_that_only_says_whether_a_branch_is_there_gets_nothing() -> None:
    """With a branch y is 5 higher; its width, known only with the branch, does nothing and must
    not stand in for it.
    """
    chance = np.random.default_rng(0)
    rows = [
        {"branch": "yes", "width": int(chance.integers(1, 5))}
        if chance.random() < 0.5
        else {"branch": "no"}
        for _ in range(300)
    ]
    values = [5.0 * ("width" in row) + chance.normal() for row in rows]
    found = explain(rows, ["branch", "width"], values)
    assert found.share["branch"] > 0.6 and abs(found.share["width"]) < 0.05


def test_importance_finds_what_a_study_was_made_of(study: StudyRecords) -> None:
    data = compute_importance(study)
    assert data.psnr is not None and data.latency is not None and data.networks == (153, 153)
    assert max(data.psnr.share, key=data.psnr.share.__getitem__) == "skip width"
    assert max(data.latency.share, key=data.latency.share.__getitem__) == "32x branch"
    assert set(data.genes[:2]) == {"skip width", "32x branch"}
    assert (
        "the largest shares go with skip width" in data.caption
        and "the largest shares go with 32x branch" in data.caption
    )
    figure = draw_importance(data)
    assert [trace.marker.symbol for trace in figure.data] == ["circle", "diamond"] and len(
        figure.data[0].x
    ) == 12


def test_effects_are_those_of_the_genes_that_matter(study: StudyRecords) -> None:
    data = compute_effects(study)
    found = {(effect.gene, effect.choice): effect for effect in data.effects}
    yes, no = found["32x branch", "yes"].octaves, found["32x branch", "no"].octaves
    assert (
        yes and no and yes.mean - no.mean == pytest.approx(1, abs=0.15) and yes.low > 0 > no.high
    )
    narrow, wide = found["skip width", 16].psnr_db, found["skip width", 64].psnr_db
    assert narrow and wide and wide.mean - narrow.mean == pytest.approx(3, abs=0.2)
    assert (
        len({gene for gene, _ in found}) == 8 and "observations, not experiments" in data.caption
    )
    labels = draw_effects(data).layout.yaxis.ticktext
    assert f"no ({found['32x branch', 'no'].networks})" in labels and "<b>skip width</b>" in labels


def test_the_same_study_gives_the_same_answer_once(study: StudyRecords) -> None:
    first = compute_importance(study)
    assert compute_importance(study) is first
    again = compute_importance(known(150))
    assert again is not first and again.table() == first.table()


def test_without_scikit_learn_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "sklearn", None
    )  # as Python has it for what can't be imported
    assert "scikit-learn isn't installed" in (compute_importance(known(40)).missing or "")


def test_few_networks_are_told_and_not_drawn() -> None:
    few = known(26)
    for data in (compute_importance(few), compute_effects(few)):
        assert data.missing == "29 of at least 30 networks: too few to tell which gene matters."


def test_what_the_genes_do_not_explain_is_hidden() -> None:
    data = compute_importance(known(60, psnr=False))
    assert (
        data.psnr is None and data.latency is not None and "don't tell their PSNR" in data.caption
    )
    assert len(draw_importance(data).data) == 1 and data.table()[1][0][1:4] == [None, None, None]


def test_stopped_networks_count_for_latency_only() -> None:
    made = [
        Made(genome=one, psnr_db=25.0 + place % 3, latency_ms=10.0 + one.skip_width)
        for place, one in enumerate(genomes(40))
    ]
    rungs = [rung(9, 20.0, "stopped")]
    stopped = [
        Made(
            kind="stopped", genome=one, psnr_db=20.0, latency_ms=10.0 + one.skip_width, rungs=rungs
        )
        for one in genomes(20, seed=5)
    ]
    data = compute_importance(read_records(make_study([*made, *stopped])))
    assert data.networks == (40, 60) and data.caption.endswith(
        "PSNR leaves out 20 stopped early: what holds among the rest needn't hold for all."
    )


@pytest.mark.slow
def test_2000_networks_take_seconds() -> None:
    study = known(2000)
    start = time.process_time()
    for plot in PLOTS:
        data = plot.compute(study)
        if data.missing is None:
            plot.draw(data)
    assert time.process_time() - start < 12
