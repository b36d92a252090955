"""A study's trials read by plain SELECTs, and finished ones never twice.

Optuna's own reading takes seconds at 2,000 trials of 49 parameters: it builds an object for each
row, and parses the same few distributions 98,000 times. What comes back here is equal
(tests/dashboards/test_quick_answers.py compares the two).
"""

from __future__ import annotations

import datetime
import json
import math
import threading
from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Engine, Row

SPECIAL = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
# More trials than this in a question, and all of the study's are asked for (databases limit what
# one question may hold).
MANY = 500

to_distribution = lru_cache(maxsize=None)(json_to_distribution)


def _table(name: str, *columns: str, **typed: type[sa.types.TypeEngine[Any]]) -> Any:
    return sa.table(
        name,
        *(sa.column(c) for c in columns),
        *(sa.column(c, kind()) for c, kind in typed.items()),
    )


TRIALS = _table(
    "trials",
    "trial_id",
    "study_id",
    "number",
    "state",
    datetime_start=sa.DateTime,
    datetime_complete=sa.DateTime,
)
PARAMS = _table(
    "trial_params", "param_id", "trial_id", "param_name", "param_value", "distribution_json"
)
VALUES = _table("trial_values", "trial_id", "objective", "value", "value_type")
STEPS = _table(
    "trial_intermediate_values",
    "trial_id",
    "step",
    "intermediate_value",
    "intermediate_value_type",
)
USER = _table("trial_user_attributes", "trial_user_attribute_id", "trial_id", "key", "value_json")
SYSTEM = _table(
    "trial_system_attributes", "trial_system_attribute_id", "trial_id", "key", "value_json"
)


def _local(utc: datetime.datetime | None) -> datetime.datetime | None:
    """As Optuna tells it: stored in UTC, told in local time, both without a zone."""
    return (
        None if utc is None else utc.replace(tzinfo=datetime.UTC).astimezone().replace(tzinfo=None)
    )


class QuickTrials:
    """The trials of one study behind `engine`, by number; `read()` may be called from any thread."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine, self._study_id, self._lock = engine, study_id, threading.Lock()
        self._finished: dict[int, FrozenTrial] = {}  # by number

    def read(self) -> list[FrozenTrial]:
        """All trials as they are now, in the order of their numbers; finished ones are the same
        objects each time.
        """
        with self._lock, self._engine.connect() as connection:
            # States first: whatever belongs to a trial that has finished by then is there already.
            mine = sa.select(TRIALS).where(TRIALS.c.study_id == self._study_id)
            rows = [row for row in connection.execute(mine) if row.number not in self._finished]
            fresh = self._built(connection, rows) if rows else []
            self._finished |= {trial.number: trial for trial in fresh if trial.state.is_finished()}
            return sorted(
                [*self._finished.values(), *(t for t in fresh if not t.state.is_finished())],
                key=lambda t: t.number,
            )

    def _built(self, connection: sa.Connection, rows: list[Row[Any]]) -> list[FrozenTrial]:
        ids = [row.trial_id for row in rows]
        params: dict[int, dict[str, Any]] = defaultdict(dict)
        distributions: dict[int, dict[str, BaseDistribution]] = defaultdict(dict)
        for row in self._of(connection, PARAMS, ids, PARAMS.c.param_id):
            distribution = to_distribution(row.distribution_json)
            params[row.trial_id][row.param_name] = distribution.to_external_repr(row.param_value)
            distributions[row.trial_id][row.param_name] = distribution
        values: dict[int, list[float]] = defaultdict(list)
        for row in self._of(connection, VALUES, ids, VALUES.c.objective):
            values[row.trial_id].append(SPECIAL.get(row.value_type, row.value))
        steps: dict[int, dict[int, float]] = defaultdict(dict)
        for row in self._of(connection, STEPS, ids, STEPS.c.step):
            steps[row.trial_id][row.step] = SPECIAL.get(
                row.intermediate_value_type, row.intermediate_value
            )
        user = self._attributes(connection, USER, ids, USER.c.trial_user_attribute_id)
        system = self._attributes(connection, SYSTEM, ids, SYSTEM.c.trial_system_attribute_id)
        return [
            FrozenTrial(
                number=row.number,
                state=TrialState[row.state],
                value=None,
                values=values.get(row.trial_id),
                datetime_start=_local(row.datetime_start),
                datetime_complete=_local(row.datetime_complete),
                params=params[row.trial_id],
                distributions=distributions[row.trial_id],
                user_attrs=user[row.trial_id],
                system_attrs=system[row.trial_id],
                intermediate_values=steps[row.trial_id],
                trial_id=row.trial_id,
            )
            for row in rows
        ]

    def _attributes(
        self, connection: sa.Connection, table: Any, ids: list[int], order: Any
    ) -> dict[int, dict[str, Any]]:
        found: dict[int, dict[str, Any]] = defaultdict(dict)
        for row in self._of(connection, table, ids, order):
            found[row.trial_id][row.key] = json.loads(row.value_json)
        return found

    def _of(
        self, connection: sa.Connection, table: Any, ids: list[int], order: Any
    ) -> Iterator[Row[Any]]:
        """The rows of `table` that belong to the trials `ids`, in the order in which they were
        written.
        """
        if len(ids) <= MANY:
            return iter(
                connection.execute(
                    sa.select(table).where(table.c.trial_id.in_(ids)).order_by(order)
                )
            )
        mine = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == self._study_id)
        wanted = set(ids)
        rows = connection.execute(
            sa.select(table).where(table.c.trial_id.in_(mine)).order_by(order)
        )
        return (row for row in rows if row.trial_id in wanted)
