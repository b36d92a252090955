"""Which running trials are dead, and what becomes of them, without processes."""

from __future__ import annotations

import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.recovery import MAX_DEATHS, STALE_AFTER_S, Claim, asking, folder_id, recover
from nas.samplers import suggest
from nas.study import DIRECTIONS
from space import SEEDS, DesignSpace

SPACE = DesignSpace()


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(directions=list(DIRECTIONS), sampler=optuna.samplers.RandomSampler(seed=0))


def kinds(study: optuna.Study) -> list[str]:
    return [trial.user_attrs.get("kind", trial.state.name) for trial in study.trials]


def begin(study: optuna.Study, folder: Path) -> Claim:
    trial = study.ask()
    claim = Claim(folder, trial)
    trial.set_user_attr("genome", SPACE.decode(suggest(trial, SPACE)).to_json())
    return claim


def test_a_held_lock_is_a_living_trial(study: optuna.Study, tmp_path: Path) -> None:
    with begin(study, tmp_path):
        assert recover(study, tmp_path, SPACE, owns_storage=True) == []
    assert not (tmp_path / "trials" / "0000").exists()  # it left nothing
    assert recover(study, tmp_path, SPACE, owns_storage=True) == [0]


def test_recovering_twice_queues_once(study: optuna.Study, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), begin(study, tmp_path):
        raise ZeroDivisionError
    params = study.trials[0].params
    assert recover(study, tmp_path, SPACE, owns_storage=True) == [0]
    assert recover(study, tmp_path, SPACE, owns_storage=True) == []
    assert kinds(study) == ["interrupted", "WAITING"]
    trial = study.ask()
    assert suggest(trial, SPACE) == params


def test_killed_between_queueing_and_telling_nothing_is_queued_twice(study: optuna.Study, tmp_path: Path) -> None:
    begin(study, tmp_path).__exit__(OSError, OSError(), None)
    study.enqueue_trial(study.trials[0].params, user_attrs={"retry_of": 0})
    recover(study, tmp_path, SPACE, owns_storage=True)
    assert kinds(study) == ["interrupted", "WAITING"]


def test_a_seed_killed_before_it_had_parameters_keeps_its_name(study: optuna.Study, tmp_path: Path) -> None:
    study.enqueue_trial(SPACE.encode(SEEDS["M2"]), user_attrs={"seed": "M2", "genome": SEEDS["M2"].to_json()})
    study.ask()
    assert recover(study, tmp_path, SPACE, owns_storage=True) == [0]
    trial = study.ask()
    assert trial.user_attrs["seed"] == "M2" and SPACE.decode(suggest(trial, SPACE)) == SEEDS["M2"]


def test_a_proposal_killed_before_it_was_one_is_not_queued(study: optuna.Study, tmp_path: Path) -> None:
    study.ask()
    recover(study, tmp_path, SPACE, owns_storage=True)
    assert kinds(study) == ["interrupted"]


def test_a_network_that_kills_its_process_is_given_up(study: optuna.Study, tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS):
        begin(study, tmp_path).__exit__(OSError, OSError(), None)
        recover(study, tmp_path, SPACE, owns_storage=True)
    assert kinds(study) == ["interrupted"] * MAX_DEATHS
    assert study.trials[-1].user_attrs["message"].startswith(f"given up: the process died {MAX_DEATHS} times")


def test_stopping_is_not_held_against_a_network(study: optuna.Study, tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS + 1):
        begin(study, tmp_path).__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        recover(study, tmp_path, SPACE, owns_storage=True, died=False)
    assert study.trials[-1].state == TrialState.WAITING


def test_a_trial_of_another_folder_is_judged_by_its_last_sign_of_life(study: optuna.Study, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert folder_id(here) == folder_id(here) != folder_id(there)
    trial = study.ask()
    claim = Claim(there, trial)
    suggest(trial, SPACE)
    claim.__exit__(OSError, OSError(), None)
    assert recover(study, here, SPACE, owns_storage=False) == []
    trial.set_user_attr("alive_at", time.time() - STALE_AFTER_S - 1)
    assert recover(study, here, SPACE, owns_storage=False) == [0]


def test_only_one_asks_at_a_time(tmp_path: Path) -> None:
    import fcntl
    import os

    with asking(tmp_path):
        other = os.open(tmp_path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
