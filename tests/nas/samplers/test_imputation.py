"""What the sampler is shown of stopped trials, and that the study keeps what was measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from stand_ins import Command, Runner

from nas.samplers.imputation import STEEPEST, Imputation, predict

Read = Callable[[], Any]
RUNGS = (20, 60, 180)
DB = st.floats(10, 40)


def test_without_whole_trainings_a_rung_is_all_there_is() -> None:
    assert predict([], 21.0) == 21.0


def test_few_whole_trainings_tell_their_mean_gain() -> None:
    assert predict([(20.0, 24.0), (21.0, 24.0)], 19.0) == pytest.approx(19.0 + 3.5)


def test_many_tell_a_line() -> None:
    """Final = 14 + 0.5 x rung, over a wide spread: the prior towards a slope of 1 hardly counts."""
    pairs = [(float(at), 14 + 0.5 * at) for at in range(0, 100, 5)]
    assert predict(pairs, 20.0) == pytest.approx(24.0, abs=0.1)


@given(st.lists(st.tuples(DB, DB), max_size=20), DB, DB)
def test_a_better_rung_never_foretells_a_worse_end(
    pairs: list[tuple[float, float]], one: float, other: float
) -> None:
    low, high = sorted((one, other))
    first, second = predict(pairs, low), predict(pairs, high)
    assert first <= second + 1e-9 and second - first <= STEEPEST * (high - low) + 1e-9


def test_the_sampler_sees_stopped_trials_as_complete_and_the_study_does_not(
    run_search: Command, read_study: Read
) -> None:
    run_search("--steps", 180, "--trials", 16, "--sampler", "random", runner=Runner(rungs=RUNGS))
    study: optuna.Study = read_study()
    foresight = Imputation(study.directions)
    foresight.update(study)
    shown = foresight.shown.get_trials(deepcopy=False)
    real = [
        t
        for t in study.get_trials(deepcopy=False)
        if t.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]
    assert len(shown) == len(real)
    stopped = [
        (mine, theirs)
        for mine, theirs in zip(shown, real, strict=True)
        if theirs.user_attrs["kind"] == "stopped"
    ]
    assert len(stopped) >= 4 and all(theirs.values is None for _, theirs in stopped)
    for mine, theirs in stopped:
        # The stand-in gains exactly 1 dB from rung to rung, so that the end can be foretold
        # without an error.
        last = theirs.user_attrs["rungs"][-1]
        gain = len(RUNGS) - 1 - RUNGS.index(last["step"])
        assert (
            mine.values == pytest.approx([last["psnr_db"] + gain, last["latency_ms"]])
            and mine.params == theirs.params
        )
    foresight.update(study)
    assert len(foresight.shown.trials) == len(real), "each is taken in once"


def test_proposals_do_not_depend_on_stops(
    run_search: Command, read_study: Read, runs: Path, tmp_path: Path
) -> None:
    """With stopped trials among what the sampler learns from: in three commands or in one, the
    same networks.
    """
    flags = ("--steps", 180, "--sampler", "tpe")
    for trials in (5, 9, 12):
        run_search(*flags, "--trials", trials, runner=Runner(rungs=RUNGS))
    parts = [(t.user_attrs["digest"], t.user_attrs["kind"]) for t in read_study().trials]
    (runs / "tiny").rename(tmp_path / "parts")
    run_search(*flags, "--trials", 12, runner=Runner(rungs=RUNGS))
    assert [(t.user_attrs["digest"], t.user_attrs["kind"]) for t in read_study().trials] == parts
    assert "stopped" in {kind for _, kind in parts}
