"""A storage that can be looked at and not be changed: every read passes, every write is refused.

Finished trials are read once and kept (quick_trials.py). A study's system attributes may be shown
with more than is stored (`also`: the live front).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from dashboards.study.bulk_read import QuickTrials

Attributes = dict[str, Any]


class ReadOnlyError(RuntimeError):
    """Something tried to change what is only shown."""


class ReadOnlyStorage(BaseStorage):
    """`storage` as a dashboard sees it. Writes raise ReadOnlyError unless `writable`;
    `also(storage, study_id)` gives system attributes that are shown beside the stored ones.
    """

    def __init__(
        self,
        storage: RDBStorage,
        *,
        writable: bool = False,
        also: Callable[[BaseStorage, int], Attributes] | None = None,
    ) -> None:
        self._stored = storage
        self._trials: dict[int, QuickTrials] = {}
        self._writable = writable
        self._also = also or (lambda storage, study_id: {})

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._stored.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._stored.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._stored.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> Attributes:
        return self._stored.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> Attributes:
        return self._stored.get_study_system_attrs(study_id) | self._also(self, study_id)

    def get_all_studies(self) -> list[Any]:
        studies = sorted(self._stored.get_all_studies(), key=lambda study: study._study_id)
        for study in studies:
            study.system_attrs = study.system_attrs | self._also(self, study._study_id)
        return studies

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self._stored.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._stored.get_trial(trial_id)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        self._stored.get_study_name_from_id(
            study_id
        )  # KeyError where there is no such study (any more)
        trials = self._trials.setdefault(
            study_id, QuickTrials(self._stored.engine, study_id)
        ).read()
        chosen = trials if states is None else [trial for trial in trials if trial.state in states]
        return copy.deepcopy(chosen) if deepcopy else chosen

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return self._stored.get_best_trial(study_id)

    def remove_session(self) -> None:
        self._stored.remove_session()

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return self._written().create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self._written().delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._written().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._written().set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        return self._written().create_new_trial(study_id, template_trial)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self._written().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        return self._written().set_trial_state_values(trial_id, state, values)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self._written().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._written().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._written().set_trial_system_attr(trial_id, key, value)

    def _written(self) -> BaseStorage:
        if not self._writable:
            raise ReadOnlyError(
                "this dashboard only shows the study; start it with --writable to change it"
            )
        return self._stored
