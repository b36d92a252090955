"""Trials read by plain SELECTs are those that Optuna reads, and what is written in one go is there
whole or not at all.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.study import bulk_read
from nas.study.fast_storage import FastStorage

BLOCKS = ["rdb", "rep", None, True, 1.5]


def comparable(trial: FrozenTrial) -> dict[str, Any]:
    """All that a trial holds; steps as text, because NaN is not equal to itself."""
    return vars(trial) | {
        "_intermediate_values": repr(trial.intermediate_values),
        "intermediate_values": None,
    }


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two studies in one database, with trials of every state, and values and attributes of every
    kind.
    """
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(study_name="another", storage=url).add_trial(create_trial(value=1.0))
    study = optuna.create_study(
        study_name="dark", storage=url, directions=["maximize", "minimize"]
    )
    study.enqueue_trial({"depth": 2, "block": "rdb"})
    running = study.ask()
    running.suggest_int("depth", 1, 3)
    running.suggest_categorical("block", BLOCKS)
    kinds: list[tuple[TrialState, list[float] | None]] = [
        (TrialState.COMPLETE, [24.0 + n, 50.0]) for n in range(6)
    ]
    kinds += [(TrialState.COMPLETE, [math.inf, -math.inf])]
    kinds += [(state, None) for state in (TrialState.PRUNED, TrialState.FAIL, TrialState.WAITING)]
    for n, (state, values) in enumerate(kinds):
        spaces: dict[str, Any] = {
            "depth": IntDistribution(1, 3 + n % 2),
            "block": CategoricalDistribution(BLOCKS),
            "rate": FloatDistribution(1e-4, 1.0, log=True),
        }
        params = {"depth": 2, "block": BLOCKS[n % 5], "rate": 0.1}
        names = list(spaces) if n % 4 else ["depth"]
        study.add_trial(
            create_trial(
                state=state,
                values=values,
                params={name: params[name] for name in names},
                distributions={name: spaces[name] for name in names},
                user_attrs={
                    "flag": n % 2 == 0,
                    "long": ["x" * 300] * 5,
                    "odd": "é" if n % 2 else 1,
                },
                system_attrs={"fixed_params": {"depth": 2}, "constraints": [0.5]},
                intermediate_values={10: 0.5, 5: math.nan, 20: math.inf} if n % 2 else {},
            )
        )
    return url


@pytest.mark.parametrize("many", [500, 3])
def test_trials_are_those_that_optuna_reads(
    url: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_read, "MANY", many)
    fast, own = FastStorage(url), RDBStorage(url)
    study_id = own.get_study_id_from_name("dark")
    for states in (None, (TrialState.COMPLETE,), (TrialState.RUNNING, TrialState.WAITING), ()):
        got, expected = (
            storage.get_all_trials(study_id, states=states) for storage in (fast, own)
        )
        assert [comparable(trial) for trial in got] == [comparable(trial) for trial in expected]
        assert [list(trial.params) for trial in got] == [list(trial.params) for trial in expected]
    ids = [trial._trial_id for trial in expected or own.get_all_trials(study_id)]
    for seen, after in (({ids[0], ids[-1]}, ids[4]), (set(), ids[4]), ({ids[0]}, 10_000)):
        asked = {"states": None, "included_trial_ids": seen, "trial_id_greater_than": after}
        got, expected = (storage._get_trials(study_id, **asked) for storage in (fast, own))
        assert [comparable(trial) for trial in got] == [comparable(trial) for trial in expected]


def test_a_study_that_is_not_there_is_optunas_error(url: str) -> None:
    for storage in (FastStorage(url), RDBStorage(url)):
        with pytest.raises(KeyError):
            storage.get_all_trials(99)
