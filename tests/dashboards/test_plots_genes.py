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
from dashboards.plots.genes import choices_of, flat, summary, varying
from dashboards.plots.importance import compute_importance, draw_importance
from dashboards.study.records import StudyRecords, read_records
from space import BASELINES

MO = json.loads(BASELINES["MO"].to_json())


def study_of(count: int, *, psnr: bool = True) -> StudyRecords:
    """Networks whose PSNR goes with the trunk's width (or with nothing), and whose latency doubles
    with a branch at 32x.
    """
    chance = random.Random(1)
    made = list(baselines()) if psnr else []  # they stand out
    for genome in genomes(count):
        deep = any(branch.scale == 32 for branch in genome.branches)
        psnr_db = 25 + chance.gauss(0, 0.1) + (genome.skip_width / 16 if psnr else 0)
        latency_ms = (40.0 if deep else 20.0) * 2 ** chance.gauss(0, 0.1)
        made.append(Made(genome=genome, psnr_db=psnr_db, latency_ms=latency_ms))
    return read_records(make_study(made))


@pytest.fixture(scope="module")
def study() -> StudyRecords:
    return study_of(150)


def test_a_genome_as_a_row() -> None:
    row = flat(MO)
    expected = {"32x branch": "yes", "8x branch": "no", "4x stage": "no", "skip width": 64}
    expected |= {"32x blocks": 3, "32x layers": 5, "32x shorter first block": "yes"}
    expected |= {"32x refine": "no", "merge shuffle": "yes"}
    assert {key: row[key] for key in expected} == expected
    assert not {"8x blocks", "fusion", "schema", "32x first layers"} & set(row)
    assert flat({"fine_width": 8, "fine_blocks": 0})["4x stage"] == "yes"


def test_a_genome_in_a_few_figures() -> None:
    assert summary(MO) == {
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
    rows = [{"a": 8, "b": "y", "c": 1}, {"a": 16, "c": 1}, {"a": 4, "b": "x", "c": 1}]
    assert choices_of(rows, "a") == [4, 8, 16] and choices_of(rows, "b") == ["x", "y"]
    assert varying(rows) == ["a", "b"]


def test_effects_by_hand() -> None:
    """Of ten networks with the gene five are wide: 2 dB better and an octave slower."""
    rows = [{"width": 8}] * 5 + [{"width": 16}] * 5 + [{"other": 1}] * 4
    figures = np.array([[20.0, 0.0]] * 5 + [[22.0, 1.0]] * 5 + [[90.0, 9.0]] * 4)
    narrow, wide = effects_of("width", rows, figures)
    assert (narrow.choice, narrow.networks, wide.choice, wide.networks) == (8, 5, 16, 5)
    assert narrow.psnr_db and wide.psnr_db and wide.octaves
    means = narrow.psnr_db.mean, wide.psnr_db.mean, wide.octaves.mean
    assert means == pytest.approx((-1, 1, 0.5))
    assert wide.psnr_db.low < 1 < wide.psnr_db.high


def test_a_choice_of_four_networks_has_no_interval() -> None:
    few, many = effects_of("a", [{"a": 1}] * 4 + [{"a": 2}] * 9, np.ones((13, 2)))
    assert few.psnr_db is None and few.networks == 4 and many.psnr_db is not None


def test_intervals_of_effects_contain_the_truth_as_often_as_they_claim() -> None:
    """40 studies in which a choice does nothing: nearly all intervals must contain 0."""
    chance = np.random.default_rng(3)
    rows = [{"a": index % 2} for index in range(60)]
    contain = 0
    for _ in range(40):
        psnr_db = effects_of("a", rows, chance.normal(size=(60, 2)))[0].psnr_db
        contain += psnr_db is not None and psnr_db.low <= 0 <= psnr_db.high
    assert 34 <= contain <= 40


def test_shares_are_those_of_the_variance() -> None:
    """y = 3a + 2b + noise of independent genes: the shares are 9/14 and 4/14, and c has none."""
    chance = np.random.default_rng(0)
    genes = chance.integers(0, 2, size=(600, 3))
    rows = [dict(zip("abc", map(int, row), strict=True)) for row in genes]
    values = 3 * genes[:, 0] + 2 * genes[:, 1] + chance.normal(0, 0.5, 600)
    explained = explain(rows, ["a", "b", "c"], list(values))
    variance = values.var()
    assert explained.r2 == pytest.approx(1 - 0.25 / variance, abs=0.03)
    for gene, weight in (("a", 9), ("b", 4), ("c", 0)):
        assert explained.share[gene] == pytest.approx(weight / 4 / variance, abs=0.06), gene
    low = explained.low
    assert low["a"] > 0.4 and low["b"] > 0.1 and low["c"] <= 0.01
    assert low["a"] < explained.share["a"] < explained.high["a"]


def test_a_gene_known_only_with_a_branch_does_not_stand_in_for_it() -> None:
    """With a branch y is 5 higher; its width does nothing and must get no share."""
    chance = np.random.default_rng(0)
    rows = [
        {"branch": "yes", "width": int(chance.integers(1, 5))}
        if chance.random() < 0.5
        else {"branch": "no"}
        for _ in range(300)
    ]
    values = [5.0 * ("width" in row) + chance.normal() for row in rows]
    share = explain(rows, ["branch", "width"], values).share
    assert share["branch"] > 0.6 and abs(share["width"]) < 0.05


def test_importance_finds_what_a_study_was_made_of(study: StudyRecords) -> None:
    data = compute_importance(study)
    assert data.psnr is not None and data.latency is not None and data.networks == (153, 153)
    assert max(data.psnr.share, key=data.psnr.share.__getitem__) == "skip width"
    assert max(data.latency.share, key=data.latency.share.__getitem__) == "32x branch"
    assert set(data.genes[:2]) == {"skip width", "32x branch"}
    for gene in data.genes[:2]:
        assert f"the largest shares go with {gene}" in data.caption
    traces = draw_importance(data).data
    assert [trace.marker.symbol for trace in traces] == ["circle", "diamond"]
    assert len(traces[0].x) == 12


def test_effects_are_those_of_the_genes_that_matter(study: StudyRecords) -> None:
    data = compute_effects(study)
    effects = {(effect.gene, effect.choice): effect for effect in data.effects}
    yes, no = effects["32x branch", "yes"].octaves, effects["32x branch", "no"].octaves
    assert yes and no and yes.low > 0 > no.high
    assert yes.mean - no.mean == pytest.approx(1, abs=0.15)
    narrow, wide = effects["skip width", 16].psnr_db, effects["skip width", 64].psnr_db
    assert narrow and wide and wide.mean - narrow.mean == pytest.approx(3, abs=0.2)
    assert len({gene for gene, _ in effects}) == 8
    assert "observations, not experiments" in data.caption
    labels = draw_effects(data).layout.yaxis.ticktext
    assert {f"no ({effects['32x branch', 'no'].networks})", "<b>skip width</b>"} <= set(labels)


def test_the_same_study_gives_the_same_answer_once(study: StudyRecords) -> None:
    first = compute_importance(study)
    assert compute_importance(study) is first
    again = compute_importance(study_of(150))
    assert again is not first and again.table() == first.table()


def test_without_scikit_learn_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)  # as for what can't be imported
    assert "scikit-learn isn't installed" in (compute_importance(study_of(40)).missing or "")


def test_few_networks_are_reported_and_not_drawn() -> None:
    few = study_of(26)
    for data in (compute_importance(few), compute_effects(few)):
        assert data.missing == "29 of at least 30 networks: too few to tell which gene matters."


def test_what_the_genes_do_not_explain_is_hidden() -> None:
    data = compute_importance(study_of(60, psnr=False))
    assert data.psnr is None and data.latency is not None
    assert "don't predict their PSNR" in data.caption
    assert len(draw_importance(data).data) == 1 and data.table()[1][0][1:4] == [None, None, None]


def test_stopped_networks_count_for_latency_only() -> None:
    made = [
        Made(genome=one, psnr_db=25.0 + index % 3, latency_ms=10.0 + one.skip_width)
        for index, one in enumerate(genomes(40))
    ]
    stopped = {"kind": "stopped", "psnr_db": 20.0, "rungs": [rung(9, 20.0, "stopped")]}
    made += [
        Made(genome=one, latency_ms=10.0 + one.skip_width, **stopped)
        for one in genomes(20, seed=5)
    ]
    data = compute_importance(read_records(make_study(made)))
    assert data.networks == (40, 60)
    assert data.caption.endswith(
        "PSNR leaves out 20 stopped early: what holds among the rest needn't hold for all."
    )


@pytest.mark.slow
def test_2000_networks_take_seconds() -> None:
    study = study_of(2000)
    start = time.process_time()
    for plot in PLOTS:
        data = plot.compute(study)
        if data.missing is None:
            plot.draw(data)
    assert time.process_time() - start < 12
