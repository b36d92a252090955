"""What the page asks for most, all about a study as JSON, told in the time that the page takes to
draw it.

optuna-dashboard's own answer takes seconds at 2,000 trials, most of them spent on looking for each
trial's note among those of all trials, and on describing the same distributions again and again.
This answer is the same, kept for finished trials and put together, but for one thing: the page
never asks a trial's parameter for its distribution (it has those of the search space), and half of
all that it had to parse was that; tests/dashboards/test_quick_answers.py holds the two against
each other.
"""

from __future__ import annotations

import json
import math
import numbers
import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

MAX_ATTRIBUTE = 1024
ARTIFACT, PLOT, NAMES = "artifacts:", "dashboard:plot_data:", "study:metric_names"
NOTE = re.compile(r"dashboard:(?:(\d+):)?note_(?:ver|str:(\d+))")
Attributes = Mapping[str, Any]


class QuickDetail:
    """Answers for the studies of `storage`; keeps what it has said about finished trials."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage, self._lock = storage, threading.Lock()
        self._params: dict[tuple[str, int, type, Any], tuple[BaseDistribution, str]] = {}
        self._trials: dict[int, str] = {}

    def answer(self, study_id: int, after: int) -> bytes | None:
        """The study with its trials from number `after` on, as JSON; None for a study that is not
        like ours (one objective, forms, preferences), which optuna-dashboard must describe itself.
        """
        with self._lock:  # one thread fills what is kept, the others find it
            return self._answer(study_id, after)

    def settle(self) -> None:
        """Waits until no answer is being made: other work would only hold up the one that the page
        waits for.
        """
        with self._lock:
            pass

    def _answer(self, study_id: int, after: int) -> bytes | None:
        study = next((s for s in self._storage.get_all_studies() if s._study_id == study_id), None)
        if (
            study is None
            or len(study.directions) != 2
            or not all(_is_known(key) for key in study.system_attrs)
        ):
            return None
        trials = self._storage.get_all_trials(study_id, deepcopy=False)
        notes = _notes(study.system_attrs)
        said = {t._trial_id: self._trial(study_id, t, notes) for t in trials[after:]}
        best = [
            said.get(t._trial_id) or self._trial(study_id, t, notes)
            for t in _front(trials, study.directions)
        ]
        union, shared = _spaces(trials)
        about: dict[str, Any] = {
            "name": study.study_name,
            "directions": [direction.name.lower() for direction in study.directions],
            "user_attrs": _attributes(study.user_attrs),
            "artifacts": _artifacts(study.system_attrs),
            "intersection_search_space": [_space(name, union[name]) for name in sorted(shared)],
            "union_search_space": [_space(name, union[name]) for name in sorted(union)],
            "union_user_attrs": [
                {"key": key, "sortable": yes} for key, yes in _sortable(trials).items()
            ],
            "has_intermediate_values": any(
                t.intermediate_values for t in trials if t.state != TrialState.FAIL
            ),
            "note": notes[None],
            "is_preferential": False,
            "feedback_component_type": {"output_type": "note"},
            "plotly_graph_objects": _plots(study.system_attrs),
        }
        if NAMES in study.system_attrs:
            about["objective_names"] = study.system_attrs[NAMES]
        rest = json.dumps(about)[1:]
        return (
            f'{{"trials": [{", ".join(said.values())}], "best_trials": [{", ".join(best)}], {rest}'
        ).encode()

    def _trial(self, study_id: int, trial: FrozenTrial, notes: Mapping[int | None, Any]) -> str:
        note = json.dumps(notes[trial._trial_id])
        kept = self._trials.get(trial._trial_id)
        if kept is None:
            kept = self._described(study_id, trial)
            if trial.state.is_finished():
                self._trials[trial._trial_id] = kept
        return f'{{"note": {note}, {kept}'

    def _described(self, study_id: int, trial: FrozenTrial) -> str:
        system = trial.system_attrs
        about: dict[str, Any] = {
            "trial_id": trial._trial_id,
            "study_id": study_id,
            "number": trial.number,
            "state": trial.state.name.capitalize(),
            "fixed_params": [
                {"name": name, "param_external_value": str(value)}
                for name, value in system.get("fixed_params", {}).items()
            ],
            "user_attrs": _attributes(trial.user_attrs),
            "artifacts": _artifacts(system),
            "constraints": system.get("constraints", []),
            "intermediate_values": [
                {"step": s, "value": _number(v)}
                for s, v in sorted(trial.intermediate_values.items())
            ],
        }
        if trial.values is not None:
            about["values"] = [_number(value) for value in trial.values]
        if trial.datetime_start is not None:
            about["datetime_start"] = trial.datetime_start.isoformat()
        if trial.datetime_complete is not None:
            about["datetime_complete"] = trial.datetime_complete.isoformat()
        params = ", ".join(
            self._param(name, trial.distributions[name], value)
            for name, value in trial.params.items()
        )
        return f'"params": [{params}], {json.dumps(about)[1:]}'

    def _param(self, name: str, distribution: BaseDistribution, value: Any) -> str:
        key = (name, id(distribution), type(value), value)
        kept = self._params.get(key)
        if kept is None or kept[0] is not distribution:
            about = {
                "name": name,
                "param_internal_value": distribution.to_internal_repr(value),
                "param_external_value": str(value),
                "param_external_pytyp": str(type(value)),
            }
            kept = self._params[key] = distribution, json.dumps(about)
        return kept[1]


def _is_known(key: str) -> bool:
    return (
        not key.startswith(("dashboard:", "preference:"))
        or key.startswith(PLOT)
        or NOTE.fullmatch(key) is not None
    )


def _notes(system_attrs: Attributes) -> Mapping[int | None, dict[str, Any]]:
    """Each trial's note by its id, the study's own by None."""
    versions: dict[int | None, int] = {}
    parts: dict[int | None, dict[int, str]] = defaultdict(dict)
    for key, value in system_attrs.items():
        if (found := NOTE.fullmatch(key)) is None:
            continue
        trial_id = None if found[1] is None else int(found[1])
        if found[2] is None:
            versions[trial_id] = int(value)
        else:
            parts[trial_id][int(found[2])] = value
    notes: dict[int | None, dict[str, Any]] = defaultdict(lambda: {"version": 0, "body": ""})
    for trial_id, version in versions.items():
        notes[trial_id] = {
            "version": version,
            "body": "".join(text for _, text in sorted(parts[trial_id].items())),
        }
    return notes


def _front(
    trials: Iterable[FrozenTrial], directions: Sequence[StudyDirection]
) -> list[FrozenTrial]:
    """The complete trials that no other beats, equal ones all, in the order of their numbers."""
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]
    costs = [
        (tuple(sign * v for sign, v in zip(signs, t.values, strict=True)), t)
        for t in trials
        if t.state == TrialState.COMPLETE and t.values is not None
    ]
    chosen: list[tuple[tuple[float, ...], FrozenTrial]] = []
    for cost, trial in sorted(costs, key=lambda pair: pair[0]):
        if not chosen or cost[1] < chosen[-1][0][1] or cost == chosen[-1][0]:
            chosen.append((cost, trial))
    return sorted((trial for _, trial in chosen), key=lambda trial: trial.number)


def _spaces(trials: Iterable[FrozenTrial]) -> tuple[dict[str, BaseDistribution], set[str]]:
    """Every parameter with its distribution, and the names of those that all trials have; failed
    trials don't count.
    """
    union: dict[str, BaseDistribution] = {}
    shared: set[str] | None = None
    for trial in trials:
        if trial.state == TrialState.FAIL:
            continue
        names = trial.distributions.keys()
        shared = set(names) if shared is None else shared if shared <= names else shared & names
        for name, distribution in trial.distributions.items():
            known = union.get(name)
            if known is not distribution:
                union[name] = distribution if known is None else _merged(known, distribution)
    return union, shared or set()


def _merged(one: Any, other: Any) -> BaseDistribution:
    if type(one) is not type(other) or isinstance(one, CategoricalDistribution):
        return cast(BaseDistribution, one)  # Optuna allows no other kind and no other choices
    return cast(
        BaseDistribution,
        type(one)(min(one.low, other.low), max(one.high, other.high), log=one.log, step=one.step),
    )


def _sortable(trials: Sequence[FrozenTrial]) -> dict[str, bool]:
    """The user attributes in the order in which the page lists them, newest trials' first; whether
    all are numbers.
    """
    found: dict[str, bool] = {}
    for trial in reversed(trials):
        for key, value in trial.user_attrs.items():
            if found.get(key, True):
                found[key] = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return found


def _attributes(attrs: Attributes) -> list[dict[str, str]]:
    return [
        {
            "key": key,
            "value": value
            if isinstance(value, str)
            else str(value)
            if isinstance(value, numbers.Real)
            else json.dumps(value)[:MAX_ATTRIBUTE],
        }
        for key, value in attrs.items()
    ]


def _artifacts(system_attrs: Attributes) -> list[Any]:
    found = (json.loads(value) for key, value in system_attrs.items() if key.startswith(ARTIFACT))
    return [meta for meta in found if meta is not None]


def _plots(system_attrs: Attributes) -> list[dict[str, str]]:
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    for key, value in system_attrs.items():
        if key.startswith(PLOT):
            name, _, number = key.removeprefix(PLOT).rpartition(":")
            parts[name][int(number)] = value
    return [
        {"id": name, "graph_object": "".join(text for _, text in sorted(texts.items()))}
        for name, texts in parts.items()
    ]


def _space(name: str, distribution: BaseDistribution) -> dict[str, Any]:
    return {"name": name, "distribution": _distribution(distribution)}


def _distribution(distribution: BaseDistribution) -> dict[str, Any]:
    about: dict[str, Any] = {"type": type(distribution).__name__}
    if isinstance(distribution, CategoricalDistribution):
        return about | {
            "choices": [{"pytype": str(type(c)), "value": str(c)} for c in distribution.choices]
        }
    return about | {key: getattr(distribution, key) for key in ("low", "high", "step", "log")}


def _number(value: float) -> float | str:
    if math.isnan(value):
        return "nan"
    return value if math.isfinite(value) else "inf" if value > 0 else "-inf"
