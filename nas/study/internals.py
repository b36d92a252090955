"""Optuna's private members, for which there is no public way; the database models apart, on which
fast_storage.py and retrying_storage.py build.
"""

from __future__ import annotations

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial


def storage_of(study: optuna.Study) -> BaseStorage:
    """The storage of `study`, which writes to trials of other processes and records heartbeats."""
    return study._storage


def database_of(study: optuna.Study) -> BaseStorage:
    """The same without the cache that Optuna wraps a database's storage in."""
    storage: BaseStorage = getattr(study._storage, "_backend", study._storage)
    return storage


def study_id(study: optuna.Study) -> int:
    """The number of `study` in its storage."""
    return study._study_id


def trial_id(trial: optuna.Trial | FrozenTrial) -> int:
    """The number of `trial` in its storage, over all studies."""
    return trial._trial_id
