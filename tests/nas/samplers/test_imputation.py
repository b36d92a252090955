"""What a model learns from a study: stopped trials with a predicted PSNR, running ones too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from stand_ins import Command, Runner

from nas.samplers import suggest
from nas.samplers.imputation import STEEPEST, Observations, observe, predict
from space import DesignSpace

Read = Callable[[], Any]
RUNGS = (20, 60, 180)
DB = st.floats(10, 40)
SPACE = DesignSpace()


def predicted(pairs: list[tuple[float, float]], psnr_db: float) -> float:
    at_rung, final = np.array(pairs).reshape(-1, 2).T
    return predict(at_rung, final, psnr_db)


def observed(study: Any, number: int = -1, most: int = 500) -> Observations:
    return observe(study.get_trials(deepcopy=False), number, genes=len(SPACE.genes), most=most)


def test_without_whole_trainings_a_rung_is_all_there_is() -> None:
    assert predicted([], 21.0) == 21.0


def test_of_few_whole_trainings_the_mean_gain_counts() -> None:
    assert predicted([(20.0, 24.0), (21.0, 24.0)], 19.0) == pytest.approx(19.0 + 3.5)


def test_of_many_a_line() -> None:
    """Final = 14 + 0.5 x rung, over a wide spread: the prior slope of 1 hardly counts."""
    pairs = [(float(at), 14 + 0.5 * at) for at in range(0, 100, 5)]
    assert predicted(pairs, 20.0) == pytest.approx(24.0, abs=0.1)


@given(st.lists(st.tuples(DB, DB), max_size=20), DB, DB)
def test_a_better_rung_never_predicts_a_worse_end(
    pairs: list[tuple[float, float]], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    first, second = predicted(pairs, low), predicted(pairs, high)
    assert first <= second + 1e-9 and second - first <= STEEPEST * (high - low) + 1e-9


def test_stopped_trials_have_a_predicted_psnr_and_the_study_stays_as_it_is(
    run_search: Command, read_study: Read
) -> None:
    run_search("--steps", 180, "--trials", 16, "--sampler", "random", runner=Runner(rungs=RUNGS))
    study = read_study()
    scored = observed(study).scored
    ended = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert [one.number for one in scored] == [trial.number for trial in ended]
    stopped = [(one, study.trials[one.number]) for one in scored if not one.is_measured]
    assert len(stopped) >= 4 and all(trial.values is None for _, trial in stopped)
    for one, trial in stopped:
        # The stand-in gains exactly 1 dB from rung to rung, so that the prediction has no error.
        last = trial.user_attrs["rungs"][-1]
        gain = len(RUNGS) - 1 - RUNGS.index(last["step"])
        assert one.psnr_db == pytest.approx(last["psnr_db"] + gain)
        assert one.latency_ms == last["latency_ms"] and one.params == trial.params
        assert one.rungs[last["step"]] == last["psnr_db"]
    for one in scored:
        if one.is_measured:
            assert set(one.rungs) == {*RUNGS[:-1], math.inf} and one.rungs[math.inf] == one.psnr_db
    assert [one.number for one in observed(study, most=3).scored] == [t.number for t in ended[-3:]]


def test_what_runs_and_what_has_a_verdict_is_known(run_search: Command, read_study: Read) -> None:
    run_search("--trials", 4, runner=Runner(script=["complete", "diverged", ValueError("broken")]))
    study = read_study()
    running = study.ask()
    params = suggest(running, SPACE)
    running.set_user_attr("digest", "runs")
    known = observed(study)
    kinds = {trial.user_attrs["digest"]: trial.user_attrs.get("kind") for trial in study.trials}
    assert "error" in kinds.values() and "runs" in known.digests
    assert known.digests == {
        digest for digest, kind in kinds.items() if kind in ("complete", "diverged", None)
    }
    assert known.pending == [params] and observed(study, running.number).pending == []
    running.set_user_attr("rungs", [{"step": 20, "psnr_db": 21.0, "latency_ms": 9.0}])
    last = observed(study).scored[-1]
    assert (last.psnr_db, last.latency_ms, last.is_measured) == (21.0, 9.0, False)
