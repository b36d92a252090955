"""Known networks are drawn anew, and where the model insists, the network beside it is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from stand_ins import Command, Runner

from nas.samplers.fresh import DRAWS, DeduplicatingSampler
from nas.samplers.imputation import Imputation
from nas.samplers.registry import suggest
from nas.study.schema import DIRECTIONS
from space import BASELINES, DesignSpace

SPACE = DesignSpace()
MO = SPACE.encode(BASELINES["MO"])


class Stubborn(optuna.samplers.RandomSampler):
    """A model that is sure: it always proposes `networks` in turn."""

    def __init__(self, *networks: dict[str, Any]) -> None:
        super().__init__(seed=0)
        self.networks, self.asked = networks, 0

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> dict[str, Any]:
        first = study.get_trials(deepcopy=False)[0]
        return dict(first.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: Any, search_space: Any
    ) -> dict[str, Any]:
        self.asked += 1
        return dict(self.networks[(self.asked - 1) % len(self.networks)])


def ask(sampler: optuna.samplers.BaseSampler) -> dict[str, Any]:
    """What is suggested for the second trial of a study."""
    study = optuna.create_study(
        directions=list(DIRECTIONS), sampler=optuna.samplers.RandomSampler(seed=1)
    )
    first = study.ask()
    suggest(first, SPACE)
    study.tell(first, [20.0, 20.0])
    study.sampler = sampler
    return suggest(study.ask(), SPACE)


def test_a_network_that_is_not_known_is_left_as_it_is() -> None:
    model = Stubborn(MO)
    assert (
        ask(DeduplicatingSampler(model, SPACE, lambda digest: False, seed=0)) == MO
        and model.asked == 1
    )


def test_a_known_one_is_drawn_anew() -> None:
    m1 = SPACE.encode(BASELINES["M1"])
    model = Stubborn(MO, m1)
    assert (
        ask(
            DeduplicatingSampler(
                model, SPACE, lambda digest: digest == BASELINES["MO"].digest, seed=0
            )
        )
        == m1
    )


def test_where_the_model_insists_its_neighbour_is_taken() -> None:
    model = Stubborn(MO)
    found = ask(
        DeduplicatingSampler(model, SPACE, lambda digest: digest == BASELINES["MO"].digest, seed=0)
    )
    assert SPACE.decode(found) != BASELINES["MO"] and model.asked == DRAWS
    assert sum(found[name] != MO[name] for name in MO) == 1
    assert found == ask(
        DeduplicatingSampler(
            Stubborn(MO), SPACE, lambda digest: digest == BASELINES["MO"].digest, seed=0
        )
    )


def test_an_exhausted_space_is_no_endless_search() -> None:
    assert set(ask(DeduplicatingSampler(Stubborn(MO), SPACE, lambda digest: True, seed=0))) == set(
        MO
    )


def test_a_search_hardly_repeats_itself(
    run_search: Command, read_study: Callable[[], Any], runs: Path
) -> None:
    """The stand-in's best are very small, where most genes say nothing: without fresh proposals a
    third were repeats.
    """
    run_search(
        "--trials", 40, "--sampler", "tpe", "--steps", 180, runner=Runner(rungs=(20, 60, 180))
    )
    trials = read_study().trials
    assert sum("repeat_of" in trial.user_attrs for trial in trials) <= 1


def test_what_runs_and_what_has_a_verdict_is_known(
    run_search: Command, read_study: Callable[[], Any]
) -> None:
    run_search("--trials", 4, runner=Runner(script=["complete", "diverged", ValueError("broken")]))
    study = read_study()
    running = study.ask()
    running.set_user_attr("digest", "runs")
    foresight = Imputation(study.directions)
    foresight.update(study)
    kinds = {trial.user_attrs["digest"]: trial.user_attrs.get("kind") for trial in study.trials}
    assert foresight.digests == {
        digest for digest, kind in kinds.items() if kind in ("complete", "diverged", None)
    }
    assert "error" in kinds.values() and "runs" in foresight.digests
