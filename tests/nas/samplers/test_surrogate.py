"""What is known of a network without training, and the sampler that learns from it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState
from stand_ins import Command, Runner, figures

from nas.samplers import surrogate as structured
from nas.samplers.features import numbers, works
from nas.samplers.registry import suggest
from nas.samplers.surrogate import (
    STARTUP,
    Process,
    StructureSampler,
    expected_gain,
    predict_rungs,
)
from nas.study.pareto import Reference, hypervolume
from nas.study.schema import DIRECTIONS
from space import BASELINES, DesignSpace, Genome, count_cost

SPACE = DesignSpace()
REFERENCE = Reference(psnr_db=10.0, latency_ms=1000.0)
GAIN = st.tuples(st.floats(0.1, 10), st.floats(0.1, 8))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_works_are_those_that_a_trace_counts(seed: int) -> None:
    genome = SPACE.decode(SPACE.sample(random.Random(seed)))
    cost = count_cost(genome, 64, 64)
    assert {part: round(64 * 64 * work) for part, work in works(genome).items()} == {
        p: n for p, n in cost.parts.items() if n
    }


def test_the_published_networks_works_are_those_that_a_trace_counts() -> None:
    for genome in BASELINES.values():
        assert round(64 * 64 * sum(works(genome).values())) == count_cost(genome, 64, 64).macs


@given(st.integers(0, 10**9))
def test_numbers_are_finite_and_equally_many(seed: int) -> None:
    told = numbers(SPACE.decode(SPACE.sample(random.Random(seed))))
    assert len(told) == len(numbers(BASELINES["MO"])) and all(map(math.isfinite, told))


@given(st.lists(GAIN, max_size=8), GAIN)
def test_a_sure_networks_expected_gain_is_its_gain(
    front: list[tuple[float, float]], one: tuple[float, float]
) -> None:
    def area(gains: list[tuple[float, float]]) -> float:
        return hypervolume([(10 + db, 1000 / 2**octaves) for db, octaves in gains], REFERENCE)

    sure = np.array([1e-9])
    found = expected_gain(front, (np.array([one[0]]), sure), (np.array([one[1]]), sure))
    assert found[0] == pytest.approx(area([*front, one]) - area(front), abs=1e-6)


@settings(deadline=None)
@given(st.lists(GAIN, max_size=5), GAIN, st.floats(0.1, 2), st.floats(0.1, 2), st.integers(0, 9))
def test_an_unsure_networks_expected_gain_is_the_mean(
    front: list[tuple[float, float]],
    one: tuple[float, float],
    db_sd: float,
    octaves_sd: float,
    seed: int,
) -> None:
    drawn = np.random.default_rng(seed).normal(one, (db_sd, octaves_sd), (4000, 2))
    sure = np.full(len(drawn), 1e-9)
    sampled = expected_gain(front, (drawn[:, 0], sure), (drawn[:, 1], sure))
    exact = expected_gain(
        front,
        (np.array([one[0]]), np.array([db_sd])),
        (np.array([one[1]]), np.array([octaves_sd])),
    )
    assert exact[0] == pytest.approx(
        sampled.mean(), abs=6 * sampled.std() / math.sqrt(len(drawn)) + 0.02
    )


@given(st.integers(2, 20), st.integers(0, 99))
def test_a_process_foretells_what_it_has_seen_closer_than_their_mean(
    count: int, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(size=(count, 5))
    z = x @ np.arange(5.0) + 20
    means, variances = Process(x, z, spread=1.0).predict(x)
    assert ((means - z) ** 2).sum() <= ((z - z.mean()) ** 2).sum() + 1e-9 and (variances > 0).all()


def test_stopped_networks_teach_the_end_through_the_rungs() -> None:
    """40 networks reach the first rung, 10 the end, which is always 5 dB above it: what only the
    others show is foretold too.
    """
    chance = np.random.default_rng(0)
    x = chance.normal(size=(40, 3))
    first = 15 + x[:, 0]
    seen = [
        {17.0: float(z)} | ({math.inf: float(z) + 5} if k < 10 else {})
        for k, z in enumerate(first)
    ]
    means, deviations = predict_rungs(x, seen, x[10:])[math.inf]
    assert np.abs(means - first[10:] - 5).mean() < 0.4 and (deviations < 3).all()


def test_without_any_end_the_last_rung_is_foretold() -> None:
    x = np.eye(3)
    found = predict_rungs(x, [{17.0: 15.0}, {17.0: 16.0, 50.0: 18.0}, {17.0: 15.5}], x)
    means, _ = found[50.0]
    assert list(found) == [17.0, 50.0] and (means > 16).all() and (means < 20).all()


def searched(
    trials: int,
    seed: int,
    *,
    reference: Reference | None = REFERENCE,
    limit_ms: float | None = None,
    world: Callable[[Genome], tuple[float, float]] = figures,
) -> optuna.Study:
    known: set[str] = set()
    study = optuna.create_study(directions=list(DIRECTIONS))
    for _ in range(trials):
        study.sampler = StructureSampler(
            SPACE,
            seed=seed,
            reference=lambda: reference,
            is_known=known.__contains__,
            limit_ms=limit_ms,
        )
        trial = study.ask()
        genome = SPACE.decode(suggest(trial, SPACE))
        assert genome.digest not in known
        known.add(genome.digest)
        study.tell(trial, list(world(genome)))
    return study


def test_the_same_seed_proposes_the_same_and_nothing_twice() -> None:
    params = [[trial.params for trial in searched(STARTUP + 4, seed).trials] for seed in (0, 0, 1)]
    assert params[0] == params[1] != params[2]


def test_it_works_before_the_reference_is_known() -> None:
    assert len(searched(STARTUP + 2, 0, reference=None).trials) == STARTUP + 2


def test_what_the_rule_stops_for_sure_is_not_let_through() -> None:
    """At the rung MO has 18 dB, and what is faster less: 17 dB are enough for a faster network and
    not for a slower one.
    """
    stood = [
        (3.0, 18.0),
        (3.2, 16.5),
        (3.6, 16.0),
        (4.0, 15.0),
        (2.5, 17.5),
        (2.0, 17.9),
        (1.5, 16.0),
    ]
    standing = [
        (
            optuna.trial.create_trial(
                value=25.0, user_attrs={"rungs": [{"step": 17, "psnr_db": psnr_db}]}
            ),
            octaves,
        )
        for octaves, psnr_db in stood
    ]
    octaves = np.array([2.9, 3.1, 2.9])
    foretold = {
        17.0: (np.array([17.0, 17.0, 19.0]), np.full(3, 0.1)),
        math.inf: (np.full(3, 25.0), np.full(3, 1.0)),
    }
    assert structured._let_through(foretold, octaves, standing) == pytest.approx(
        [0, 1, 1], abs=1e-3
    )
    assert list(structured._let_through(foretold, octaves, [])) == [1, 1, 1], (
        "who comes first is let through"
    )


def test_a_limit_is_kept_to_once_latency_is_learnt() -> None:
    """Where better pictures take longer it goes near the limit, and over it now and then."""
    limited = searched(STARTUP + 24, 0, limit_ms=12.0)
    assert sum(trial.values[1] <= 12.0 for trial in limited.trials[-12:]) >= 9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_under_a_limit_it_looks_for_good_pictures_not_for_ever_faster_ones(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """3 dB for each doubling of latency: without the focus it stays at the fast end, where each
    step adds area.
    """

    def steep(genome: Genome) -> tuple[float, float]:
        _, latency_ms = figures(genome)
        return 15.0 + 3.0 * math.log2(latency_ms), latency_ms

    def near() -> int:
        last = searched(STARTUP + 24, seed, limit_ms=12.0, world=steep).trials[-12:]
        return sum(8.0 <= trial.values[1] <= 12.0 for trial in last)

    focused = near()
    monkeypatch.setattr(structured, "FOCUS_DB", math.inf)
    monkeypatch.setattr(structured, "FIXED_COST", 0.0)
    assert focused >= 4 and near() <= 1


def test_a_search_under_a_tight_limit_gets_going() -> None:
    """Nothing is trained over the limit: what is proposed before there is a model must come below
    it.
    """
    known: set[str] = set()
    study = optuna.create_study(directions=list(DIRECTIONS))
    limit_ms = 5.5  # a hundredth of random networks are as fast
    for _ in range(5 * STARTUP):
        study.sampler = StructureSampler(
            SPACE,
            seed=0,
            reference=lambda: REFERENCE,
            is_known=known.__contains__,
            limit_ms=limit_ms,
        )
        trial = study.ask()
        genome = SPACE.decode(suggest(trial, SPACE))
        known.add(genome.digest)
        psnr_db, latency_ms = figures(genome)
        if latency_ms <= limit_ms:
            study.tell(trial, [psnr_db, latency_ms])
            continue
        trial.set_user_attr("kind", "over_limit")
        trial.set_user_attr("ratio_to_mo", latency_ms / 10)
        study.tell(trial, state=TrialState.PRUNED)
    assert sum(trial.state is TrialState.COMPLETE for trial in study.trials) >= STARTUP


def test_a_search_by_structure_does_not_depend_on_stops(
    run_search: Command, read_study: Callable[[], Any], runs: Path, tmp_path: Path
) -> None:
    rungs = (20, 60, 180)
    flags = ("--steps", 180, "--sampler", "structure")
    for trials in (6, 11, 15):
        run_search(*flags, "--trials", trials, runner=Runner(rungs=rungs))
    parts = [(t.user_attrs["digest"], t.user_attrs["kind"]) for t in read_study().trials]
    (runs / "tiny").rename(tmp_path / "parts")
    run_search(*flags, "--trials", 15, runner=Runner(rungs=rungs))
    assert [(t.user_attrs["digest"], t.user_attrs["kind"]) for t in read_study().trials] == parts
    assert len({digest for digest, _ in parts}) == len(parts) and "stopped" in {
        kind for _, kind in parts
    }
    assert {t.user_attrs.get("sampler") for t in read_study().trials} == {None, "structure"}
