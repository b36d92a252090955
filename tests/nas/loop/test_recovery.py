"""Which running trials are dead, and what becomes of them, without processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from nas.loop import claim as claims
from nas.loop import recovery
from nas.loop.claim import Claim, TakenOverError, checkpoints_folder, folder_id, trial_directory
from nas.loop.recovery import MAX_DEATHS, recover, sweep
from nas.samplers import suggest
from nas.study.schema import DIRECTIONS
from nas.study.storage import open_storage
from space import BASELINES, DesignSpace

SPACE = DesignSpace()


@pytest.fixture
def study() -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(directions=list(DIRECTIONS), sampler=sampler)


def enqueue(study: optuna.Study, name: str, **attrs: str) -> None:
    genome = BASELINES[name]
    study.enqueue_trial(SPACE.encode(genome), user_attrs={"genome": genome.to_json(), **attrs})


def kinds(study: optuna.Study) -> list[str]:
    return [trial.user_attrs.get("kind", trial.state.name) for trial in study.trials]


def begin(study: optuna.Study, folder: Path) -> Claim:
    trial = study.ask()
    claim = Claim(folder, trial)
    trial.set_user_attr("genome", SPACE.decode(suggest(trial, SPACE)).to_json())
    return claim


def kill(claim: Claim) -> None:
    """What kill -9 leaves of a claim: no heartbeat, a free lock, and nothing said."""
    claim._heartbeat.end()
    os.close(claim._descriptor)


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


def test_killed_between_queueing_and_telling_nothing_is_queued_twice(
    study: optuna.Study, tmp_path: Path
) -> None:
    kill(begin(study, tmp_path))
    study.enqueue_trial(study.trials[0].params, user_attrs={"retry_of": 0})
    recover(study, tmp_path, SPACE, owns_storage=True)
    assert kinds(study) == ["interrupted", "WAITING"]


def test_a_baseline_killed_before_it_had_parameters_keeps_its_name(
    study: optuna.Study, tmp_path: Path
) -> None:
    enqueue(study, "M2", baseline="M2")
    study.ask()
    assert recover(study, tmp_path, SPACE, owns_storage=True) == [0]
    trial = study.ask()
    assert trial.user_attrs["baseline"] == "M2"
    assert SPACE.decode(suggest(trial, SPACE)) == BASELINES["M2"]


def test_a_proposal_killed_before_it_was_one_is_not_queued(
    study: optuna.Study, tmp_path: Path
) -> None:
    study.ask()
    recover(study, tmp_path, SPACE, owns_storage=True)
    assert kinds(study) == ["interrupted"]


def test_a_network_that_kills_its_process_is_given_up(study: optuna.Study, tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS):
        kill(begin(study, tmp_path))
        recover(study, tmp_path, SPACE, owns_storage=True)
    assert kinds(study) == ["interrupted"] * MAX_DEATHS
    message = study.trials[-1].user_attrs["message"]
    assert message.startswith(f"given up: the process died {MAX_DEATHS} times")


def test_stopping_is_not_held_against_a_network(study: optuna.Study, tmp_path: Path) -> None:
    for _ in range(MAX_DEATHS + 1):
        begin(study, tmp_path).__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        recover(study, tmp_path, SPACE, owns_storage=True, put_back=study.trials[-1].number)
    assert study.trials[-1].state == TrialState.WAITING


def test_who_finds_a_stopped_trial_before_its_own_process_does_excuses_it(
    study: optuna.Study, tmp_path: Path
) -> None:
    """Several workers are asked to stop at once: each lets go of its trial, then puts it back."""
    claims = [begin(study, tmp_path) for _ in range(3)]
    claims[0].show_life(20, 1.5)
    for claim in claims[:2]:
        claim.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    kill(claims[2])
    assert recover(study, tmp_path, SPACE, owns_storage=True, put_back=1) == [0, 1, 2]
    told = [trial.user_attrs["message"] for trial in study.trials[:3]]
    assert told == ["stopped by the user"] * 2 + ["its process was killed"]
    assert [trial.user_attrs["attempts"] for trial in study.trials[3:]] == [0, 0, 1]
    assert study.trials[3].user_attrs["reached"] == {"step": 20, "seconds": 1.5}


@pytest.fixture
def beating(tmp_path: Path) -> optuna.Study:
    """A study in a real database, whose heartbeats come every second and are stale after three."""
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}", heartbeat_s=1)
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(directions=list(DIRECTIONS), storage=storage, sampler=sampler)


def test_who_stops_does_not_excuse_who_was_killed(study: optuna.Study, tmp_path: Path) -> None:
    for _ in range(2):
        kill(begin(study, tmp_path))
    recover(study, tmp_path, SPACE, owns_storage=True, put_back=1)
    messages = [trial.user_attrs["message"] for trial in study.trials[:2]]
    assert messages == ["its process was killed", "stopped by the user"]
    assert [trial.user_attrs["attempts"] for trial in study.trials[2:]] == [1, 0]


@pytest.mark.slow
def test_a_trial_of_another_folder_is_judged_by_its_heartbeat(
    beating: optuna.Study, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert folder_id(here) == folder_id(here) != folder_id(there)
    claim = begin(beating, there)
    until = time.monotonic() + 4.5
    while time.monotonic() < until:  # it beats by itself, for longer than the grace
        assert recover(beating, here, SPACE, owns_storage=False) == []
        time.sleep(0.5)
    kill(claim)
    assert recover(beating, here, SPACE, owns_storage=False) == [], "which nobody can know yet"
    while recover(beating, here, SPACE, owns_storage=False) != [0]:
        assert time.monotonic() < until + 12
        time.sleep(0.2)
    assert kinds(beating) == ["interrupted", "WAITING"]


def test_the_same_folder_on_another_machine_is_judged_by_its_heartbeat(
    beating: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock of a shared folder may be invisible from another machine."""
    monkeypatch.setattr(claims, "machine_id", lambda: "far away")
    kill(begin(beating, tmp_path))
    monkeypatch.undo()
    assert recover(beating, tmp_path, SPACE, owns_storage=True) == []


def test_who_was_taken_for_dead_is_told(beating: optuna.Study, tmp_path: Path) -> None:
    claim = begin(beating, tmp_path)
    claim.show_life(10, 1.0)
    beating.tell(0, state=TrialState.FAIL)
    until = time.monotonic() + 10
    with pytest.raises(TakenOverError):
        while time.monotonic() < until:
            claim.show_life(20, 2.0)
            time.sleep(0.1)
    claim.__exit__(None, None, None)


def test_a_retry_knows_how_far_its_trial_had_come(study: optuna.Study, tmp_path: Path) -> None:
    claim = begin(study, tmp_path)
    claim.show_life(120, 12.5)
    claim.show_life(9, 1.0)  # shorter than what was there
    claim.show_life(130, 13.5)
    kill(claim)
    recover(study, tmp_path, SPACE, owns_storage=True)
    assert study.trials[1].user_attrs["reached"] == {"step": 130, "seconds": 13.5}
    assert not (tmp_path / "trials" / "0000").exists()


def test_a_network_that_is_given_up_leaves_no_checkpoints(
    study: optuna.Study, tmp_path: Path
) -> None:
    for death in range(MAX_DEATHS):
        claim = begin(study, tmp_path)
        study._storage.set_trial_user_attr(study.trials[-1]._trial_id, "digest", "abc")
        checkpoints_folder(tmp_path, "abc").mkdir(parents=True, exist_ok=True)
        kill(claim)
        recover(study, tmp_path, SPACE, owns_storage=True)
        assert checkpoints_folder(tmp_path, "abc").exists() == (death < MAX_DEATHS - 1)


def test_what_killed_processes_left_is_swept(study: optuna.Study, tmp_path: Path) -> None:
    """A finished trial's lock (killed just before it was removed), and checkpoints that nobody
    goes on with.
    """
    told = begin(study, tmp_path)
    study._storage.set_trial_user_attr(study.trials[0]._trial_id, "kind", "complete")
    study.tell(0, [20.0, 20.0])
    kill(told)
    (tmp_path / "trials" / "0000" / "weights.safetensors").touch()
    enqueue(study, "M1")
    with begin(study, tmp_path):  # this one waits no more: it runs
        enqueue(study, "M2")
        for name in (BASELINES["M1"].digest, BASELINES["M2"].digest, "forgotten"):
            checkpoints_folder(tmp_path, name).mkdir(parents=True)
        sweep(study, tmp_path)
        needed = {BASELINES[name].digest for name in ("M1", "M2")}
        assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == needed
        files = [path.name for path in (tmp_path / "trials" / "0000").iterdir()]
        assert files == ["weights.safetensors"]
        assert (tmp_path / "trials" / "0001" / "lock").exists()


def test_a_lock_of_who_was_killed_before_it_named_its_folder_is_swept(
    study: optuna.Study, tmp_path: Path
) -> None:
    study.ask()
    study.tell(0, state=TrialState.FAIL)
    lock = tmp_path / "trials" / "0000" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    sweep(study, tmp_path)
    assert not lock.exists()


def test_a_trial_that_was_created_and_not_claimed_is_dead(
    beating: optuna.Study, tmp_path: Path
) -> None:
    """On a server too: asking and claiming is one act, in which nobody else looks."""
    beating.ask()
    assert recover(beating, tmp_path, SPACE, owns_storage=False) == [0]


def test_a_trial_that_ends_while_it_is_taken_for_dead_stays_as_it_ended(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill(begin(study, tmp_path))
    still_runs = recovery._still_runs

    def ends_meanwhile(*words: Any) -> bool:
        found = still_runs(*words)
        study.tell(0, [20.0, 20.0])
        return found

    monkeypatch.setattr(recovery, "_still_runs", ends_meanwhile)
    left = trial_directory(tmp_path, 0) / "weights.safetensors"
    left.touch()
    assert recover(study, tmp_path, SPACE, owns_storage=True) == []
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "WAITING"]
    assert left.exists()


def test_a_trial_that_ends_between_the_reading_and_the_look_at_its_lock_is_no_dead_one(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = begin(study, tmp_path)
    left = trial_directory(tmp_path, 0) / "weights.safetensors"
    left.touch()
    lives = recovery._lives

    def ends_meanwhile(*words: Any) -> bool:
        study.tell(0, [20.0, 20.0])
        claim.__exit__(None, None, None)
        return lives(*words)

    monkeypatch.setattr(recovery, "_lives", ends_meanwhile)
    assert recover(study, tmp_path, SPACE, owns_storage=True) == []
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] and left.exists()
