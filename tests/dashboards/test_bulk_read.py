"""What is read and told quickly is what Optuna and optuna-dashboard would have read and told, for
trials of every kind.
"""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from dashboards.server.live_front import KEY, LiveFront
from dashboards.study import bulk_read as quick_trials
from dashboards.study.bulk_read import QuickTrials
from dashboards.study.read_only import ReadOnlyError, ReadOnlyStorage
from dashboards.study.reader import open_storage

optuna_dashboard = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")

BLOCKS = ["rdb", "rep", None, True, 1.5]


def told(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """All that a trial holds; steps as text, because NaN is not equal to itself."""
    return vars(trial) | {
        "_intermediate_values": repr(trial.intermediate_values),
        "intermediate_values": None,
    }


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A study of ours with every kind of trial, notes, artifacts, and attributes of every type."""
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(
        study_name="dark", storage=url, directions=["maximize", "minimize"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(["psnr_db", "latency_ms"])
    study.set_user_attr("schema", 1)
    study.set_user_attr("config", {"latency_limit_ms": None})
    study.enqueue_trial({"depth": 2, "block": "rdb"})
    running = study.ask()
    running.suggest_int("depth", 1, 3)
    running.suggest_categorical("block", BLOCKS)
    kinds = [(TrialState.COMPLETE, [24.0 + n % 3, 50.0 + n]) for n in range(6)]
    kinds += [
        (TrialState.COMPLETE, [24.0, 50.0]),
        (TrialState.COMPLETE, [math.inf, -math.inf]),
        (TrialState.PRUNED, None),
    ]
    kinds += [(TrialState.FAIL, None), (TrialState.WAITING, None)]
    for n, (state, values) in enumerate(kinds):
        spaces = {
            "depth": IntDistribution(1, 3 + n % 2),
            "block": CategoricalDistribution(BLOCKS),
            "rate": FloatDistribution(1e-4, 1.0, log=True),
        }
        spaces = spaces if n % 4 else {"depth": spaces["depth"]}
        params = {"depth": 2, "block": [None, "rdb", True, 1.5][n % 4], "rate": 0.1}
        study.add_trial(
            create_trial(
                state=state,
                values=values,
                params={name: params[name] for name in spaces},
                distributions=spaces,
                user_attrs={
                    "baseline": "MO",
                    "latency": {"median_ms": 50.0, "low_ms": 49.0},
                    "ratio_to_mo": 1.0,
                    "psnr_db": 24.0,
                    "kind": "complete",
                    "digest": f"{n:016x}",
                    "flag": n % 2 == 0,
                    "long": ["x" * 300] * 5,
                    "odd": "é" if n % 2 else 1,
                },
                system_attrs={
                    "fixed_params": {"depth": 2},
                    "constraints": [0.5],
                    f"artifacts:{n}": json.dumps(
                        {
                            "artifact_id": str(n),
                            "filename": "preview.png",
                            "mimetype": "image/png",
                            "encoding": None,
                        }
                    ),
                },
                intermediate_values={10: 0.5, 5: math.nan, 20: math.inf} if n % 2 else {},
            )
        )
    optuna_dashboard.save_note(study, "# Study\n" * 700)
    for trial in study.trials[1:5]:
        stored: Any = SimpleNamespace(
            study=study, storage=study._storage, _trial_id=trial._trial_id
        )
        optuna_dashboard.save_note(stored, f"**{trial.number}** é\n" * 300)
    return url


def test_trials_are_those_that_optuna_reads(url: str) -> None:
    storage = open_storage(url)
    quick = QuickTrials(storage.engine, 1)
    for _ in range(2):  # the second time most are kept
        got, expected = quick.read(), storage.get_all_trials(1)
        assert [told(trial) for trial in got] == [told(trial) for trial in expected]
        assert [list(t.params) for t in got] == [list(t.params) for t in expected]


def test_many_trials_are_read_at_once_and_then_only_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quick_trials, "MANY", 20)
    url = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(storage=url)
    space = {"x": FloatDistribution(0, 1)}
    study.add_trials(
        [
            create_trial(value=n / 1000, params={"x": n / 1000}, distributions=space)
            for n in range(25)
        ]
    )
    storage = open_storage(url)
    quick = QuickTrials(storage.engine, 1)
    first = quick.read()
    assert first == storage.get_all_trials(1)
    study.add_trial(create_trial(value=0.5, params={"x": 0.5}, distributions=space))
    second = quick.read()
    assert len(second) == 26 and all(
        one is other for one, other in zip(first, second, strict=False)
    )


def test_the_storage_shows_the_front_and_refuses_every_write(url: str) -> None:
    seen = ReadOnlyStorage(open_storage(url), also=LiveFront().attributes)
    figure = json.loads(seen.get_study_system_attrs(1)[KEY])
    assert "?numbers=" in json.dumps(figure) and KEY not in open_storage(
        url
    ).get_study_system_attrs(1)
    study = optuna.load_study(study_name="dark", storage=seen)
    trial = study.trials[0]
    writes: list[Any] = [
        lambda: study.set_user_attr("a", 1),
        lambda: study.ask(),
        lambda: study.tell(trial.number, [1, 2]),
        lambda: study.add_trial(study.trials[1]),
        lambda: seen.delete_study(1),
        lambda: seen.set_study_system_attr(1, "a", 1),
        lambda: seen.create_new_study(study.directions),
        lambda: seen.set_trial_user_attr(1, "a", 1),
        lambda: seen.set_trial_system_attr(1, "a", 1),
        lambda: seen.set_trial_intermediate_value(1, 1, 1.0),
        lambda: seen.set_trial_param(1, "x", 0.5, FloatDistribution(0, 1)),
        lambda: seen.set_trial_state_values(1, TrialState.FAIL),
    ]
    for write in writes:
        with pytest.raises(ReadOnlyError, match="--writable"):
            write()
