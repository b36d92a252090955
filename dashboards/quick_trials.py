"""A study's trials read by plain SELECTs (nas/plain_trials.py), and finished ones never twice."""

from __future__ import annotations

import threading

import sqlalchemy as sa
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Engine

from nas.plain_trials import TRIALS, trials_of


class QuickTrials:
    """The trials of one study behind `engine`, by number; `read()` may be called from any thread."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine, self._study_id, self._lock = engine, study_id, threading.Lock()
        self._finished: dict[int, FrozenTrial] = {}  # by number

    def read(self) -> list[FrozenTrial]:
        """All trials as they are now, in the order of their numbers; finished ones are the same objects each time."""
        with self._lock, self._engine.connect() as connection:
            mine = sa.select(TRIALS).where(TRIALS.c.study_id == self._study_id)
            rows = [row for row in connection.execute(mine) if row.number not in self._finished]
            fresh = trials_of(connection, self._study_id, rows) if rows else []
            self._finished |= {trial.number: trial for trial in fresh if trial.state.is_finished()}
            return sorted(
                [*self._finished.values(), *(t for t in fresh if not t.state.is_finished())], key=lambda t: t.number
            )
