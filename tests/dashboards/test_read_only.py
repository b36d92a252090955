"""The storage behind the served page: finished trials once, the live front, no writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from studies import Made, baselines, make_file

from dashboards.server.live_front import KEY, LiveFront
from dashboards.study.read_only import ReadOnlyError, ReadOnlyStorage
from nas.study.storage import open_to_look


def test_finished_trials_are_read_once(tmp_path: Path) -> None:
    url = make_file([*baselines(), Made(kind="running")], tmp_path)
    storage = ReadOnlyStorage(open_to_look(url))
    first = storage.get_all_trials(1, deepcopy=False)
    optuna.load_study(study_name="dark", storage=url).add_trial(create_trial(values=[1.0, 2.0]))
    second = storage.get_all_trials(1, deepcopy=False)
    assert len(second) == len(first) + 1
    for before, after in zip(first, second, strict=False):
        assert (before is after) == before.state.is_finished()


def test_the_storage_shows_the_front_and_refuses_every_write(tmp_path: Path) -> None:
    stored = open_to_look(make_file([Made(kind="running"), *baselines()], tmp_path))
    storage = ReadOnlyStorage(stored, also=LiveFront().attributes)
    figure = json.loads(storage.get_study_system_attrs(1)[KEY])
    assert "?numbers=" in json.dumps(figure) and KEY not in stored.get_study_system_attrs(1)
    study = optuna.load_study(study_name="dark", storage=storage)
    trial = study.trials[0]
    writes: list[Any] = [
        lambda: study.set_user_attr("a", 1),
        lambda: study.ask(),
        lambda: study.tell(trial.number, [1, 2]),
        lambda: study.add_trial(study.trials[1]),
        lambda: storage.delete_study(1),
        lambda: storage.set_study_system_attr(1, "a", 1),
        lambda: storage.create_new_study(study.directions),
        lambda: storage.set_trial_user_attr(1, "a", 1),
        lambda: storage.set_trial_system_attr(1, "a", 1),
        lambda: storage.set_trial_intermediate_value(1, 1, 1.0),
        lambda: storage.set_trial_param(1, "x", 0.5, FloatDistribution(0, 1)),
        lambda: storage.set_trial_state_values(1, TrialState.FAIL),
    ]
    for write in writes:
        with pytest.raises(ReadOnlyError, match="--writable"):
            write()
