"""What is exported and how it scored: the network of a trial as its search left it, or after a
longer training.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.study.config import make_section
from nas.study.records import Row
from space import InputError
from space.safe_path import inside
from trials.config import DataConfig, LatencyConfig

if TYPE_CHECKING:
    import optuna


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network's folder, its scores on the held-out pairs of `data`, and what it was
    trained by.

    `latency` is the form in which it was judged, `device` where.
    """

    folder: Path
    psnr_db: float
    ssim: float
    images: list[dict[str, Any]]
    seconds: float | None
    device: str
    seed: int | None
    data: DataConfig
    about_data: dict[str, Any]
    recipe: dict[str, Any]
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    baseline_psnr_db: float | None = None


def of_trial(row: Row, study: optuna.Study, folder: Path) -> Trained:
    """The trial of `row`, a complete one, in the study's `folder`; InputError where its files are
    not there.
    """
    place = inside(folder, row.directory or f"trials/{row.number:04d}", "a trial's folder")
    if not place.is_dir():
        raise InputError(
            f"a trial's files must lie in the study's folder, but there is no {place}: "
            f"was it deleted, or made on "
            "another machine? give its --runs"
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
        data=_known(DataConfig, config.get("data", {})),
        about_data=attrs.get("data", {}),
        recipe=config.get("train", {}),
        latency=_known(LatencyConfig, config.get("latency", {})),
        baseline_psnr_db=attrs.get("baseline_psnr_db"),
    )


def of_training(row: Row, folder: Path) -> Trained:
    """The longer training of `row`'s network in `folder`; InputError where it is none, not done,
    or another network's.
    """
    path = inside(folder, "result.json", "a training's file")
    if not path.is_file():
        raise InputError(
            f"--weights must be the folder of a finished nas.retrain, but there is no "
            f"{path}; let it train to its end"
        )
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        digest, settings, about = (
            told["digest"],
            dict(told["training"]["settings"]),
            dict(told["training"]["data"]),
        )
        found = Trained(
            folder=folder,
            psnr_db=_score(told["psnr_db"]),
            ssim=_score(told["ssim"]),
            images=[_image(one) for one in told["images"]],
            seconds=_score(told["train_seconds"]),
            device=str(settings["device"]),
            seed=int(settings["seed"]),
            data=make_section(
                DataConfig, _acting(DataConfig, _section("data", settings)), "data."
            ),
            about_data=about,
            recipe=_section("train", settings),
        )
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
        OSError,
    ) as error:
        raise InputError(
            f"--weights must be the folder of a finished nas.retrain, but {path} does not "
            f"tell its training; give "
            "such a folder"
        ) from error
    if digest != row.digest:
        raise InputError(
            f"--weights must be a training of trial {row.number}'s network "
            f"({row.digest}), but {folder} is of "
            f"{digest}; give its own trial"
        )
    return found


def _section(name: str, flat: dict[str, Any]) -> dict[str, Any]:
    return {
        key.removeprefix(f"{name}."): value
        for key, value in flat.items()
        if key.startswith(f"{name}.")
    }


def _known(kind: type[Any], values: dict[str, Any]) -> Any:
    return kind(**_acting(kind, values))


def _acting(kind: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Of `values` those that this version knows."""
    return {key: value for key, value in values.items() if key in kind.__dataclass_fields__}


def _score(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("a score must be a finite number")
    return float(value)


def _image(told: dict[str, Any]) -> dict[str, Any]:
    """A picture's scores, as `Trained.images` holds them."""
    return {
        "name": str(told["name"]),
        "psnr_db": _score(told["psnr_db"]),
        "ssim": _score(told["ssim"]),
    }
