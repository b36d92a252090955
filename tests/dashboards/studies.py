"""Small studies that obey the contract of nas/study/schema.py, made without a search:
quick, and with figures to check.
"""

from __future__ import annotations

import datetime
import json
import random
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from space import BASELINES, DesignSpace, Genome

MO_MS = 50.0
START = datetime.datetime(2026, 1, 1, 12)
STATES = {
    "complete": TrialState.COMPLETE,
    "diverged": TrialState.FAIL,
    "error": TrialState.FAIL,
    "interrupted": TrialState.FAIL,
    "running": TrialState.RUNNING,
}


@dataclass(frozen=True, kw_only=True)
class Made:
    """One trial. `interval` is that of the ratio to MO as shares (0.98, 1.03); `artifacts`
    contents by file name.
    """

    psnr_db: float | None = None
    latency_ms: float | None = None
    kind: str = "complete"
    baseline: str | None = None
    genome: Genome | None = None
    interval: tuple[float, float] = (0.999, 1.001)
    rungs: Sequence[Mapping[str, Any]] = ()
    repeat_of: int | None = None
    train_seconds: float | None = 20.0
    message: str = ""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


def baselines(**changes: Any) -> list[Made]:
    """MO, M1 and M2 as a study would have them."""
    figures = {"MO": (27.0, MO_MS), "M1": (28.0, 110.0), "M2": (28.2, 190.0)}
    return [
        Made(baseline=name, genome=BASELINES[name], psnr_db=db, latency_ms=ms, **changes)
        for name, (db, ms) in figures.items()
    ]


def rung(step: int, psnr_db: float, decision: str = "on") -> dict[str, Any]:
    """One rung as the search writes it."""
    return {
        "step": step,
        "psnr_db": psnr_db,
        "ssim": 0.7,
        "loss": 0.1,
        "seconds": step / 10,
        "decision": decision,
    }


def genomes(number: int, seed: int = 0) -> list[Genome]:
    """So many random networks of the design space."""
    space, chance = DesignSpace(), random.Random(seed)
    return [space.decode(space.sample(chance)) for _ in range(number)]


def make_study(
    made: Iterable[Made],
    storage: str | BaseStorage | None = None,
    *,
    name: str = "dark",
    artifacts: Path | None = None,
    **attrs: Any,
) -> optuna.Study:
    """A study of these trials in their order; in memory where no `storage` (URL) is given. `attrs`
    change the study's own.
    """
    study = optuna.create_study(
        study_name=name, storage=storage, directions=["maximize", "minimize"]
    )
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study.set_metric_names(["psnr_db", "latency_ms"])
    own = {
        "schema": 1,
        "config": {"latency_limit_ms": None},
        "baseline_psnr_db": 20.0,
        "device": {"kind": "cpu", "name": "A processor"},
        "data": {"source": "synthetic", "held_out": 2},
        "reference": {"psnr_db": 20.0, "latency_ms": 8 * MO_MS},
    }
    for key, value in {**own, **attrs}.items():
        study.set_user_attr(key, value)
    if artifacts is not None:
        artifacts.mkdir(parents=True, exist_ok=True)
    study.add_trials([_trial(number, one, artifacts) for number, one in enumerate(made)])
    return study


def make_file(made: Iterable[Made], folder: Path, *, name: str = "dark", **attrs: Any) -> str:
    """The same in `folder`/study.db with its artifacts beside it; gives back its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder}/study.db"
    make_study(made, url, name=name, artifacts=folder / "artifacts", **attrs)
    return url


def _trial(number: int, made: Made, artifacts: Path | None) -> optuna.trial.FrozenTrial:
    attrs: dict[str, Any] = {
        "kind": made.kind,
        "baseline": made.baseline,
        "psnr_db": made.psnr_db,
        "repeat_of": made.repeat_of,
        "train_seconds": made.train_seconds,
        "message": made.message or None,
    }
    attrs["sampler"] = None if made.baseline else "tpe"
    attrs["digest"] = made.genome.digest if made.genome else f"{number:016x}"
    if made.genome is not None:
        attrs["genome"] = made.genome.to_json()
        attrs["parts"] = {"trunk": 0.25, "merge": 0.75}
    if made.psnr_db is not None:
        attrs |= {
            "ssim": 0.7,
            "images": [
                {"name": name, "psnr_db": made.psnr_db + more, "ssim": 0.7}
                for name, more in (("a", 0.5), ("b", -0.5))
            ],
        }
    if made.latency_ms is not None:
        ratio = made.latency_ms / MO_MS
        attrs["ratio_to_mo"] = ratio
        attrs["ratio_to_mo_interval"] = (
            [ratio * share for share in made.interval] if made.baseline != "MO" else [1.0, 1.0]
        )
        attrs["latency"] = {
            "median_ms": made.latency_ms,
            "height": 512,
            "width": 512,
            "dtype": "float32",
            "runtime": "eager",
            "device": "cpu",
            "device_name": "A processor",
            "threads": 2,
        }
        attrs["cost"] = {
            "parameters": int(10_000 * made.latency_ms),
            "macs": int(2e7 * made.latency_ms),
        }
    if made.rungs:
        attrs["rungs"] = [dict(one) for one in made.rungs]
    attrs = {key: value for key, value in {**attrs, **made.attrs}.items() if value is not None}
    state = STATES.get(made.kind, TrialState.PRUNED)
    values = [made.psnr_db, made.latency_ms] if state == TrialState.COMPLETE else None
    trial = optuna.trial.create_trial(
        state=state,
        values=values,
        user_attrs=attrs,
        system_attrs=dict(_stored(number, made, artifacts)),
    )
    begun = START + datetime.timedelta(minutes=number)
    trial.datetime_start = begun
    trial.datetime_complete = (
        begun + datetime.timedelta(seconds=30) if state.is_finished() else None
    )
    return trial


def _stored(number: int, made: Made, folder: Path | None) -> Iterable[tuple[str, str]]:
    """The system attributes of a trial's artifacts, as optuna.artifacts.upload_artifact makes
    them, and their files.
    """
    for name, content in made.artifacts.items():
        identity = f"{number:04d}-{name}"
        if folder is not None:
            (folder / identity).write_bytes(content)
        meta = {
            "artifact_id": identity,
            "filename": name,
            "mimetype": "application/octet-stream",
            "encoding": None,
        }
        yield f"artifacts:{identity}", json.dumps(meta)
