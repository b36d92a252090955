"""Samplers: chosen by budget, seeded by study and trial, and fed flat parameters that dashboards
can show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, IntDistribution
from stand_ins import Command, Runner, figures

from nas.samplers import SAMPLERS, Request, choose_sampler, make_sampler, suggest, usable_sampler
from nas.samplers.registry import MODEL_UP_TO
from nas.study.config import StudyConfig
from nas.study.schema import DIRECTIONS
from space import DesignSpace, InputError

SPACE = DesignSpace()


def sampler(name: str, number: int, trials: int, seed: int) -> optuna.samplers.BaseSampler:
    config = StudyConfig(name="s", trials=trials, seed=seed)
    return make_sampler(name, Request(config=config, space=SPACE, number=number, reference=None))


def searched(name: str, trials: int, seed: int = 0) -> optuna.Study:
    study = optuna.create_study(directions=list(DIRECTIONS))
    for number in range(trials):
        study.sampler = sampler(name, number, trials, seed)
        trial = study.ask()
        study.tell(trial, list(figures(SPACE.decode(suggest(trial, SPACE)))))
    return study


def test_auto_chooses_by_budget_and_names_stay() -> None:
    assert choose_sampler("auto", 12) == choose_sampler("auto", MODEL_UP_TO) == "structure"
    assert choose_sampler("auto", MODEL_UP_TO + 1) == "nsga2"
    assert [choose_sampler(name, 12) for name in SAMPLERS] == list(SAMPLERS)
    with pytest.raises(InputError, match="must be one of auto, structure, .*, but got 'grid'"):
        choose_sampler("grid", 12)


@pytest.mark.parametrize("name", ["structure", "random", "tpe", "nsga2"])
def test_the_same_seed_proposes_the_same(name: str) -> None:
    params = [[trial.params for trial in searched(name, 14, seed).trials] for seed in (0, 0, 1)]
    assert params[0] == params[1] != params[2]
    assert all(a != b for k, a in enumerate(params[0]) for b in params[0][:k])


@pytest.mark.slow  # one proposal among 53 genes takes a minute on a busy machine
def test_the_gaussian_process_works_without_a_warning() -> None:
    study = searched("gp", 5)
    study.sampler = sampler("gp", 5, 12, 0)
    assert SPACE.decode(suggest(study.ask(), SPACE))


def test_a_limit_that_came_later_falls_back_from_the_gaussian_process() -> None:
    study = optuna.create_study(directions=list(DIRECTIONS))
    for constrained in (False, True):
        trial = study.ask()
        if constrained:
            assert usable_sampler("gp", study) == "gp"
            trial.set_constraint("over_latency_limit_ms", -1.0)
        study.tell(trial, [1.0, 2.0])
    assert usable_sampler("gp", study) == usable_sampler("tpe", study) == "tpe"


def test_parameters_are_flat_words_and_whole_numbers() -> None:
    trial = searched("random", 1).trials[0]
    assert list(trial.params) == [gene.name for gene in SPACE.genes]
    for gene in SPACE.genes:
        distribution, value = trial.distributions[gene.name], trial.params[gene.name]
        assert type(value) in (int, str) and value in gene.choices
        kind = IntDistribution if gene.ordered else CategoricalDistribution
        assert isinstance(distribution, kind)
        if isinstance(distribution, IntDistribution):
            low, high, step = distribution.low, distribution.high, distribution.step
            assert tuple(range(low, high + 1, step)) == gene.choices


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6))
def test_any_seed_and_number_give_a_point_of_the_space(seed: int, number: int) -> None:
    study = optuna.create_study(directions=list(DIRECTIONS))
    study.sampler = sampler("random", number, 5, seed)
    params = suggest(study.ask(), SPACE)
    assert SPACE.decode(SPACE.encode(SPACE.decode(params))) == SPACE.decode(params)


@pytest.mark.parametrize("name", ["structure", "tpe"])
@pytest.mark.slow
def test_proposals_do_not_depend_on_stops(
    name: str, run_search: Command, read_study: Callable[[], Any], runs: Path, tmp_path: Path
) -> None:
    """With stopped trials among what is learnt from: in three commands or in one, the same."""

    def found() -> list[tuple[str, str]]:
        return [(t.user_attrs["digest"], t.user_attrs["kind"]) for t in read_study().trials]

    rungs = (20, 60, 180)
    flags = ("--steps", 180, "--sampler", name)
    for trials in (5, 9, 14):
        run_search(*flags, "--trials", trials, runner=Runner(rungs=rungs))
    parts = found()
    assert {t.user_attrs.get("sampler") for t in read_study().trials} == {None, name}
    (runs / "tiny").rename(tmp_path / "parts")
    run_search(*flags, "--trials", 14, runner=Runner(rungs=rungs))
    assert found() == parts and "stopped" in {kind for _, kind in parts}
    if name == "structure":
        assert len({digest for digest, _ in parts}) == len(parts)


def test_a_network_that_plain_tpe_proposes_twice_is_not_trained_twice(run_search: Command) -> None:
    """The stand-in's best are very small, where most genes say nothing, so that TPE insists."""
    runner = Runner(rungs=(20, 60, 180))
    assert run_search("--trials", 30, "--sampler", "tpe", "--steps", 180, runner=runner) == 0
    assert len({genome.digest for genome in runner.calls}) == len(runner.calls) == 30
