"""The sampler that learns from structure, over a world of stand-ins."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from stand_ins import figures

from nas.samplers import suggest, surrogate
from nas.samplers.imputation import Observation
from nas.samplers.surrogate import STARTUP, StructureSampler
from nas.study.pareto import Reference
from nas.study.schema import DIRECTIONS
from space import DesignSpace, Genome

SPACE = DesignSpace()
REFERENCE = Reference(psnr_db=10.0, latency_ms=1000.0)


def searched(
    trials: int,
    seed: int,
    *,
    reference: Reference | None = REFERENCE,
    limit_ms: float | None = None,
    world: Callable[[Genome], tuple[float, float]] = figures,
    is_trained: Callable[[float], bool] = lambda latency_ms: True,
) -> optuna.Study:
    """A study of so many trials; those whose latency is not trained are over the limit."""
    digests: set[str] = set()
    study = optuna.create_study(directions=list(DIRECTIONS))
    for _ in range(trials):
        study.sampler = StructureSampler(SPACE, seed=seed, reference=reference, limit_ms=limit_ms)
        trial = study.ask()
        genome = SPACE.decode(suggest(trial, SPACE))
        assert genome.digest not in digests
        digests.add(genome.digest)
        trial.set_user_attr("digest", genome.digest)
        psnr_db, latency_ms = world(genome)
        if is_trained(latency_ms):
            trial.set_user_attr("kind", "complete")
            study.tell(trial, [psnr_db, latency_ms])
        else:
            trial.set_user_attr("kind", "over_limit")
            trial.set_user_attr("ratio_to_mo", latency_ms / 10)
            study.tell(trial, state=TrialState.PRUNED)
    return study


def test_the_same_seed_proposes_the_same_and_nothing_twice() -> None:
    params = [[trial.params for trial in searched(STARTUP + 4, seed).trials] for seed in (0, 0, 1)]
    assert params[0] == params[1] != params[2]


def test_it_works_before_the_reference_is_known() -> None:
    assert len(searched(STARTUP + 2, 0, reference=None).trials) == STARTUP + 2


def test_what_the_rule_stops_for_sure_does_not_pass() -> None:
    """At the rung MO has 18 dB, and what is faster less: 17 dB are enough for a faster network and
    not for a slower one.
    """
    reached = [(3, 18.0), (3.2, 16.5), (3.6, 16), (4, 15), (2.5, 17.5), (2, 17.9), (1.5, 16)]
    scored = [
        (Observation(number=k, params={}, psnr_db=25, latency_ms=1, rungs={17: psnr_db}), octaves)
        for k, (octaves, psnr_db) in enumerate(reached)
    ]
    octaves = np.array([2.9, 3.1, 2.9])
    predicted = {
        17.0: (np.array([17.0, 17.0, 19.0]), np.full(3, 0.1)),
        math.inf: (np.full(3, 25.0), np.full(3, 1.0)),
    }
    found = surrogate._pass_probability(predicted, octaves, scored)
    assert found == pytest.approx([0, 1, 1], abs=1e-3)
    assert list(surrogate._pass_probability(predicted, octaves, [])) == [1, 1, 1], "the first pass"


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
    monkeypatch.setattr(surrogate, "FOCUS_DB", math.inf)
    monkeypatch.setattr(surrogate, "FIXED_COST", 0.0)
    assert focused >= 4 and near() <= 1


def test_a_search_under_a_tight_limit_gets_going() -> None:
    """Nothing is trained over the limit: what is proposed before there is a model must come below
    it. A hundredth of random networks are as fast.
    """
    study = searched(5 * STARTUP, 0, limit_ms=5.5, is_trained=lambda latency_ms: latency_ms <= 5.5)
    assert sum(trial.state is TrialState.COMPLETE for trial in study.trials) >= STARTUP
