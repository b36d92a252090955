"""What is exported and how it scored: a trial's network, or the same after a longer training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.study.config import make_section
from nas.study.records import Row
from space import InputError
from space.files.safe_path import inside
from trials.config import DataConfig, LatencyConfig

if TYPE_CHECKING:
    import optuna

# What reading a result.json of another form raises.
_WRONG_VALUES = (ValueError, LookupError, TypeError, AttributeError, OverflowError)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network's folder, its scores on the held-out pairs of `data`, and its training."""

    folder: Path
    psnr_db: float
    ssim: float
    images: list[dict[str, Any]]
    seconds: float | None
    device: str  # where it was scored
    seed: int | None
    data: DataConfig
    about_data: dict[str, Any]
    recipe: dict[str, Any]
    latency: LatencyConfig = field(default_factory=LatencyConfig)  # the form that was scored
    baseline_psnr_db: float | None = None


def of_trial(row: Row, study: optuna.Study, folder: Path) -> Trained:
    """The trial of `row`, a complete one; InputError where its files are not in `folder`."""
    place = inside(folder, row.directory or f"trials/{row.number:04d}", "a trial's folder")
    if not place.is_dir():
        raise InputError(
            f"a trial's files must lie in the study's folder, but there is no {place}: was it "
            "deleted, or made on another machine? give its --runs"
        )
    attrs, config = study.user_attrs, study.user_attrs.get("config", {})
    trial = study.get_trials(deepcopy=False)[row.number].user_attrs
    assert row.psnr_db is not None and row.ssim is not None  # a complete trial has both
    return Trained(
        folder=place,
        psnr_db=row.psnr_db,
        ssim=row.ssim,
        images=trial.get("images", []),
        seconds=trial.get("train_seconds"),
        device=str(config.get("device", "cpu")),
        seed=config.get("seed"),
        data=DataConfig(**_fields_of(DataConfig, config.get("data", {}))),
        about_data=attrs.get("data", {}),
        recipe=config.get("train", {}),
        latency=LatencyConfig(**_fields_of(LatencyConfig, config.get("latency", {}))),
        baseline_psnr_db=attrs.get("baseline_psnr_db"),
    )


def of_training(row: Row, folder: Path) -> Trained:
    """The longer training of `row`'s network in `folder`; InputError where it is not finished."""
    path = inside(folder, "result.json", "a training's file")
    if not path.is_file():
        raise InputError(
            f"--weights must be the folder of a finished nas.retrain, but there is no {path}; "
            "let it train to its end"
        )
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        digest, training = result["digest"], result["training"]
        settings = dict(training["settings"])
        data = _fields_of(DataConfig, _section("data", settings))
        # None is a default, which no file states.
        data = {key: value for key, value in data.items() if value is not None}
        trained = Trained(
            folder=folder,
            psnr_db=_score(result["psnr_db"]),
            ssim=_score(result["ssim"]),
            images=[_image(one) for one in result["images"]],
            seconds=_score(result["train_seconds"]),
            device=str(settings["device"]),
            seed=int(settings["seed"]),
            data=make_section(DataConfig, data, "data."),
            about_data=dict(training["data"]),
            recipe=_section("train", settings),
        )
    except (*_WRONG_VALUES, RecursionError, OSError) as error:
        raise InputError(
            f"--weights must be the folder of a finished nas.retrain, but {path} does not "
            "describe its training; give such a folder"
        ) from error
    if digest != row.digest:
        raise InputError(
            f"--weights must be a training of trial {row.number}'s network ({row.digest}), but "
            f"{folder} is of {digest}; give its own trial"
        )
    return trained


def _section(name: str, flat: dict[str, Any]) -> dict[str, Any]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): flat[key] for key in flat if key.startswith(prefix)}


def _fields_of(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Of `values` those that this version has."""
    return {key: value for key, value in values.items() if key in kind.__dataclass_fields__}


def _score(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("a score must be a finite number")
    return float(value)


def _image(image: dict[str, Any]) -> dict[str, Any]:
    scores = {key: _score(image[key]) for key in ("psnr_db", "ssim")}
    return {"name": str(image["name"]), **scores}
