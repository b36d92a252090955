"""Optuna's storage in a database, made fast for thousands of trials with 49 parameters each.

Trials are read by plain SELECTs (bulk_read.py), and what is written to a trial in one go is one
transaction: a proposal's parameters, each in its own, took 90 ms on a server next door. This and
retrying_storage.py are the files that build on Optuna's private database models.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState

from nas.study.bulk_read import TRIALS, build_trials

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


class Param(NamedTuple):
    """One parameter of a trial, as RDBStorage._set_trial_param takes it."""

    name: str
    value: float
    """In Optuna's inner representation."""
    distribution: BaseDistribution
    before: BaseDistribution | None
    """That of the study's earlier trials, where it is known."""


class FastStorage(RDBStorage):
    """Optuna's storage in a database."""

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        wanted = sa.select(TRIALS).where(TRIALS.c.study_id == study_id).order_by(TRIALS.c.trial_id)
        if trial_id_greater_than > -1:
            older = sorted(
                trial_id for trial_id in included_trial_ids if trial_id <= trial_id_greater_than
            )
            wanted = wanted.where(
                sa.or_(TRIALS.c.trial_id > trial_id_greater_than, TRIALS.c.trial_id.in_(older))
            )
        with self.engine.connect() as connection:
            rows = connection.execute(wanted).all()
            if states is not None:
                rows = [row for row in rows if TrialState[row.state] in states]
            if rows:
                return build_trials(connection, study_id, rows)
        RDBStorage.get_study_name_from_id(self, study_id)  # KeyError where there is no such study
        return []

    def set_trial_at_once(
        self, trial_id: int, params: Sequence[Param], attrs: Mapping[str, Any]
    ) -> None:
        """Writes parameters and user attributes of a running trial, all of them or none.

        Raises UpdateFinishedTrialError where it runs no more, ValueError where a parameter was
        another kind of value before.
        """
        with _create_scoped_session(self.scoped_session, True) as session:
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session)
            self.check_trial_is_updatable(trial_id, trial.state)  # type: ignore[arg-type]  # a mapped column
            for name, _, distribution, known in params:
                before = known or _stored_distribution(session, int(trial.study_id), name)
                if before is not None:
                    check_distribution_compatibility(before, distribution)
            session.add_all(
                models.TrialParamModel(
                    trial_id=trial_id,
                    param_name=param.name,
                    param_value=param.value,
                    distribution_json=distribution_to_json(param.distribution),
                )
                for param in params
            )
            for key, value in attrs.items():
                self._set_trial_attr_without_commit(
                    session, models.TrialUserAttributeModel, trial_id, key, value
                )


def _stored_distribution(session: Session, study_id: int, name: str) -> BaseDistribution | None:
    """That of the parameter `name` in any trial of the study."""
    param, trial = models.TrialParamModel, models.TrialModel
    row = (
        session.query(param)
        .join(trial)
        .filter(trial.study_id == study_id, param.param_name == name)
        .first()
    )
    return None if row is None else json_to_distribution(str(row.distribution_json))
