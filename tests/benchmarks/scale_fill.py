"""A study filled up to thousands of finished trials in seconds, with rows like those of real ones.

Copied are trials that the search itself has run (with a stand-in for training); network, figures,
and what is stored with them are made anew for each. Written in bulk into the tables of Optuna's
own models.
"""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from stand_ins import figures, mo_latency_ms

from nas.samplers.registry import random_genome
from space import DesignSpace, Genome

BLOCK = 500
# NSGA-II's generations, of so many trials (nas/samplers/registry.py): it looks for them in the
# trials' attributes.
GENERATION, POPULATION = "NSGAIISampler:generation", 50


def fill(study: optuna.Study, count: int, *, seed: int = 0) -> None:
    """Adds finished trials to `study`, which holds some already, until there are `count`."""
    trials = study.get_trials(deepcopy=False)
    own = [
        trial
        for trial in trials
        if "baseline" not in trial.user_attrs and "repeat_of" not in trial.user_attrs
    ]
    kinds = {
        kind: [trial for trial in own if trial.user_attrs.get("kind") == kind]
        for kind in ("complete", "stopped")
    }
    storage = study._storage._backend  # type: ignore[attr-defined]
    stored = study._storage.get_study_system_attrs(study._study_id)
    notes = {key: value for key, value in stored.items() if key.startswith("dashboard:")}
    chance = random.Random(seed)
    taken = {str(trial.user_attrs.get("digest")) for trial in trials}
    number, serial = len(trials), len(trials)
    while number < count:
        made: list[tuple[FrozenTrial, Genome, FrozenTrial]] = []
        while len(made) < min(BLOCK, count - number):
            serial += 1
            genome = random_genome(seed=seed + 1000, number=serial)
            if genome.digest not in taken:
                taken.add(genome.digest)
                kind = "complete" if chance.random() < 0.25 else "stopped"
                template = chance.choice(kinds[kind])
                made.append((_like(template, genome, number + len(made)), genome, template))
        with storage.engine.begin() as connection:
            _write(
                connection,
                study._study_id,
                [trial for trial, _, _ in made],
                [_note(notes, one) for _, _, one in made],
            )
        number += len(made)


def _like(template: FrozenTrial, genome: Genome, number: int) -> FrozenTrial:
    """A finished trial of `genome` with what `template` stored, its figures its own."""
    final_db, latency_ms = figures(genome)
    attrs = {
        key: value
        for key, value in template.user_attrs.items()
        if key not in ("retry_of", "attempts")
    }
    rungs = [dict(rung) for rung in attrs["rungs"]]
    for place, rung in enumerate(rungs):
        rung |= {"psnr_db": final_db - (3 - place), "latency_ms": latency_ms}
    psnr_db = rungs[-1]["psnr_db"]
    ratio = latency_ms / mo_latency_ms()
    attrs |= {
        "genome": genome.to_json(),
        "digest": genome.digest,
        "directory": f"trials/{number:04d}",
        "rungs": rungs,
        "psnr_db": psnr_db,
        "latency": {**attrs["latency"], "median_ms": latency_ms},
        "ratio_to_mo": ratio,
        "ratio_to_mo_interval": [0.99 * ratio, 1.01 * ratio],
    }
    done = attrs["kind"] == "complete"
    start = datetime(2026, 1, 1) + timedelta(seconds=number)
    return FrozenTrial(
        number=number,
        state=TrialState.COMPLETE if done else TrialState.PRUNED,
        value=None,
        values=[psnr_db, latency_ms] if done else None,
        datetime_start=start,
        datetime_complete=start + timedelta(seconds=2),
        params=DesignSpace().encode(genome),
        distributions=template.distributions,
        user_attrs=attrs,
        system_attrs={**template.system_attrs, GENERATION: number // (4 * POPULATION)},
        intermediate_values={},
        trial_id=-1,
    )


def _note(notes: dict[str, Any], template: FrozenTrial) -> str:
    return str(notes.get(f"dashboard:{template._trial_id}:note_str:0", ""))


def _write(
    connection: sqlalchemy.Connection, study_id: int, trials: list[FrozenTrial], notes: list[str]
) -> None:
    heads = [
        {
            "number": t.number,
            "study_id": study_id,
            "state": t.state,
            "datetime_start": t.datetime_start,
            "datetime_complete": t.datetime_complete,
        }
        for t in trials
    ]
    # Attributes of the mapped classes, since some columns have other names there.
    table = models.TrialModel.__table__
    ids = [
        row[0]
        for row in connection.execute(
            table.insert().returning(table.c.trial_id, sort_by_parameter_order=True), heads
        )
    ]
    rows: dict[Any, list[dict[str, Any]]] = {
        model: []
        for model in (
            models.TrialParamModel,
            models.TrialUserAttributeModel,
            models.TrialSystemAttributeModel,
            models.TrialValueModel,
            models.StudySystemAttributeModel,
        )
    }
    stored = {name: distribution_to_json(kind) for name, kind in trials[0].distributions.items()}
    for trial_id, trial, note in zip(ids, trials, notes, strict=True):
        rows[models.TrialParamModel] += [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": stored[name],
            }
            for name, value in trial.params.items()
        ]
        for model, attrs in (
            (models.TrialUserAttributeModel, trial.user_attrs),
            (models.TrialSystemAttributeModel, trial.system_attrs),
        ):
            rows[model] += [
                {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
                for key, value in attrs.items()
            ]
        rows[models.TrialValueModel] += [
            {
                "trial_id": trial_id,
                "objective": place,
                "value": value,
                "value_type": models.TrialValueModel.TrialValueType.FINITE,
            }
            for place, value in enumerate(trial.values or [])
        ]
        rows[models.StudySystemAttributeModel] += [
            {
                "study_id": study_id,
                "key": f"dashboard:{trial_id}:note_str:0",
                "value_json": json.dumps(note),
            },
            {"study_id": study_id, "key": f"dashboard:{trial_id}:note_ver", "value_json": "1"},
        ]
    for model, given in rows.items():
        if given:
            connection.execute(model.__table__.insert(), given)
