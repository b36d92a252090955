"""Opens a study or goes on with it, and writes what it holds (nas/study/schema.py)."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nas.study.config import StudyConfig
from nas.study.records import Row, read_rows
from nas.study.schema import (
    ARTIFACTS,
    DIRECTIONS,
    METRICS,
    SCHEMA,
    VERDICTS,
    TrialAttrs,
    set_study_attrs,
    study_attrs,
    trial_attrs,
)
from nas.study.storage import mask_password
from space import BASELINES, DesignSpace, Genome, InputError


def open_study(config: StudyConfig, storage: RDBStorage, url: str, folder: Path) -> optuna.Study:
    """The study `config.name` in `storage` (opened from `url`), made where there is none.

    Raises InputError where the study belongs to another program, or where fixed keys have changed
    (named with both values); what the database raises passes.
    """
    study = _load_or_create(storage, config.name)
    _check_ours(study, url)
    _check_fixed(study, config, url, folder)
    study.set_metric_names(list(METRICS))
    set_study_attrs(
        study,
        schema=SCHEMA,
        fixed=config.fixed(),
        config=config.to_dict(),
        # A value never written before, so that a read-only storage is found out now.
        opened_at=datetime.datetime.now(datetime.UTC).isoformat(),
    )
    return study


def enqueue_baselines(
    study: optuna.Study, space: DesignSpace, latency_limit_ms: float | None
) -> list[str]:
    """The names of the baselines that were queued: those without a trial that waits, runs or has a
    verdict, and those that were over a latency limit which allows them now.
    """

    def is_settled(row: Row) -> bool:
        if row.kind == "over_limit":
            return latency_limit_ms is not None and (row.latency_ms or 0) > latency_limit_ms
        return row.kind != "error"

    own = (row for row in read_rows(study) if row.repeat_of is None)
    settled = {row.baseline for row in own if is_settled(row)}
    queued = [name for name in BASELINES if name not in settled]
    for name in queued:
        attrs: TrialAttrs = {"baseline": name, "genome": BASELINES[name].to_json()}
        study.enqueue_trial(space.encode(BASELINES[name]), user_attrs=dict(attrs))
    return queued


def enqueue_networks(study: optuna.Study, space: DesignSpace, genomes: Sequence[Genome]) -> int:
    """Queues those of a user's `genomes` that no trial of the study has yet; how many.

    Raises InputError, before any is queued, where one lies outside of the space.
    """
    new = {genome.digest: (genome, space.encode(genome)) for genome in genomes}
    for trial in study.get_trials(deepcopy=False):
        if text := trial_attrs(trial).get("genome"):
            new.pop(Genome.from_json(text).digest, None)
    for genome, params in new.values():
        study.enqueue_trial(params, user_attrs={"genome": genome.to_json()})
    return len(new)


def check_data(study: optuna.Study, description: dict[str, Any]) -> None:
    """Stores what the data is; InputError where it is no longer what the finished trials were
    scored on.
    """
    stored = study_attrs(study).get("data", {})
    if stored and _started(study) and (changes := _changes(stored, description)):
        raise InputError(
            f"the data of study {study.study_name!r} has changed ({changes}); bring the old data "
            "back, or start another study with --runs DIR"
        )
    set_study_attrs(study, data=description)


def make_folder(folder: Path) -> None:
    """Makes the study's folder; InputError where that can't be, or where it can't be written."""
    try:
        for name in ("trials", ARTIFACTS):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        why = "a file is in the way"
        raise InputError(f"folder {folder} can't be made, {why}; change --runs") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"the study's folder {folder} must be writable; change --runs")


def _load_or_create(storage: RDBStorage, name: str) -> optuna.Study:
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return optuna.create_study(
            study_name=name, storage=storage, directions=list(DIRECTIONS), load_if_exists=True
        )


def _check_ours(study: optuna.Study, url: str) -> None:
    name = f"study {study.study_name!r} in {mask_password(url)}"
    directions = tuple(direction.name.lower() for direction in study.directions)
    schema = study_attrs(study).get("schema")
    # An empty one is ours too: its process was killed right after making it.
    is_used = bool(study.user_attrs or study.get_trials(deepcopy=False))
    if directions != DIRECTIONS or (schema is None and is_used):
        raise InputError(
            f"{name} was not made by nas.search (its objectives: {', '.join(directions)}); give "
            "another --storage, or rename the study's TOML file"
        )
    if schema not in (None, SCHEMA):
        raise InputError(f"{name} must have schema {SCHEMA}, but has {schema}; change --runs")


def _check_fixed(study: optuna.Study, config: StudyConfig, url: str, folder: Path) -> None:
    stored = study_attrs(study).get("fixed", {})
    if not stored or not _started(study):
        return
    # A key that this version has and the old one had not meant its default.
    changes = _changes(StudyConfig(name=config.name).fixed() | stored, config.fixed())
    if changes:
        raise InputError(
            f"study {study.study_name!r} has trials made with another config ({changes}), which "
            "would not compare; give the old values again, start another study with --runs DIR, "
            f"or delete {folder} ({mask_password(url)})"
        )


def _changes(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{key} was {stored.get(key)!r:.100}, is {now.get(key)!r:.100}"
        for key in {**stored, **now}
        if stored.get(key) != now.get(key)
    )


def _started(study: optuna.Study) -> bool:
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    return TrialState.RUNNING in states or any(row.kind in VERDICTS for row in read_rows(study))
