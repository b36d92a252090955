"""Samplers: chosen by budget, seeded by study and trial, and fed flat parameters that dashboards
can show.
"""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution
from stand_ins import figures

from nas.samplers.registry import (
    MODEL_UP_TO,
    choose_sampler,
    make_sampler,
    suggest,
    usable_sampler,
)
from nas.study.config import SAMPLERS
from nas.study.records import read_rows
from nas.study.schema import DIRECTIONS
from space import DesignSpace

SPACE = DesignSpace()


def searched(name: str, trials: int, seed: int = 0) -> optuna.Study:
    study = optuna.create_study(directions=list(DIRECTIONS))
    for number in range(trials):
        study.sampler = make_sampler(name, seed=seed, number=number, trials=trials)
        trial = study.ask()
        study.tell(trial, list(figures(SPACE.decode(suggest(trial, SPACE)))))
    return study


def test_auto_chooses_by_budget_and_names_stay() -> None:
    assert choose_sampler("auto", 12) == choose_sampler("auto", MODEL_UP_TO) == "structure"
    assert choose_sampler("auto", MODEL_UP_TO + 1) == "nsga2"
    assert [choose_sampler(name, 12) for name in SAMPLERS[1:]] == list(SAMPLERS[1:])


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2"])
def test_the_same_seed_proposes_the_same(name: str) -> None:
    params = [[trial.params for trial in searched(name, 14, seed).trials] for seed in (0, 0, 1)]
    assert params[0] == params[1] != params[2]
    assert all(a != b for k, a in enumerate(params[0]) for b in params[0][:k])


@pytest.mark.slow  # one proposal among 53 genes takes a minute on a busy machine
def test_the_gaussian_process_works_without_a_warning() -> None:
    study = searched("gp", 5)
    study.sampler = make_sampler("gp", seed=0, number=5, trials=12)
    assert SPACE.decode(suggest(study.ask(), SPACE))


def test_a_limit_that_came_later_falls_back_from_the_gaussian_process() -> None:
    study = optuna.create_study(directions=list(DIRECTIONS))
    for constrained in (False, True):
        trial = study.ask()
        trial.set_user_attr("kind", "complete")
        trial.set_user_attr("digest", str(trial.number))
        if constrained:
            assert usable_sampler("gp", study, read_rows(study)) == "gp"
            trial.set_constraint("over_latency_limit_ms", -1.0)
        study.tell(trial, [1.0, 2.0])
    assert usable_sampler("gp", study, read_rows(study)) == "tpe"
    assert usable_sampler("tpe", study, read_rows(study)) == "tpe"


def test_parameters_are_flat_words_and_whole_numbers() -> None:
    trial = searched("random", 1).trials[0]
    assert list(trial.params) == [gene.name for gene in SPACE.genes]
    for gene in SPACE.genes:
        distribution, value = trial.distributions[gene.name], trial.params[gene.name]
        assert type(value) in (int, str) and value in gene.choices
        assert isinstance(
            distribution, IntDistribution if gene.ordered else CategoricalDistribution
        )
        if isinstance(distribution, IntDistribution):
            assert (
                tuple(range(distribution.low, distribution.high + 1, distribution.step))
                == gene.choices
            )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6))
def test_any_seed_and_number_give_a_point_of_the_space(seed: int, number: int) -> None:
    study = optuna.create_study(directions=list(DIRECTIONS))
    study.sampler = make_sampler("random", seed=seed, number=number, trials=5)
    params = suggest(study.ask(), SPACE)
    assert SPACE.decode(SPACE.encode(SPACE.decode(params))) == SPACE.decode(params)
