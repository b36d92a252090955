"""The settings of a long training: network, first weights, data, recipe."""

from __future__ import annotations

import dataclasses
import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.networks import load_network, read_genome
from nas.study.config import SYNTHETIC, find_photos, load_config, resolve_device
from nas.study.reader import open_to_read, study_name
from nas.study.records import read_rows
from nas.training.folder import BEFORE_COOLDOWN, read_settings
from space import Genome, InputError, NetworkInput
from space.files.export_format import WEIGHTS
from space.files.safe_path import inside
from trials.config import DataConfig, TrainConfig

if TYPE_CHECKING:
    import optuna

    from space import DarkUNet

PRECISIONS = ("auto", "float32", "bfloat16")
# A trial's few steps want a short average, a long training a longer one.
EMA_DECAY = 0.999
STEPS = 20_000


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A long training, before its data is loaded."""

    name: str
    genome: Genome
    trial: Path | None  # folder of the trial that the network comes from, for its latency
    start: str  # "scratch", or where the first weights come from
    weights: tuple[str, str | None] | None  # arguments of load_network; None: from scratch
    data: DataConfig
    train: TrainConfig
    seed: int
    device: str
    precision: str
    threads: int | None
    eval_steps: int
    cache: Path  # where real photos are decoded to
    continued: Path | None = None  # folder of the training that this one goes on with

    def initial(self) -> tuple[DarkUNet, NetworkInput]:
        """The network with its first weights, on the CPU, and the input that it wants.

        Raises InputError where there are no such weights, or they are another network's.
        """
        if self.weights is None:
            import torch

            from space import build_model

            torch.manual_seed(self.seed)
            return build_model(self.genome), self.data.network_input
        network = load_network(*self.weights)
        return network.model, network.input

    def settings(
        self, threads: int, weights_digest: str | None, data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """All that decides the final weights, flat ("train.steps"), as plain JSON values."""
        flat: dict[str, Any] = {
            "network": self.genome.digest,
            "start": self.start,
            "start.digest": weights_digest,
            "seed": self.seed,
            "device": self.device.partition(":")[0],
            "precision": self.precision,
            "threads": threads,
            "eval_steps": self.eval_steps,
        }
        for section, config in (("data", self.data), ("train", self.train)):
            values = dataclasses.asdict(config)
            flat |= {f"{section}.{key}": value for key, value in values.items()}
        return {**flat, "data.source": str(self.data.source), "data.digest": data.get("digest")}

    def trial_latency(self) -> dict[str, Any]:
        """Latency and ratio to MO as the network's trial measured them."""
        try:
            path = self.trial / "result.json" if self.trial else None
            result = json.loads(path.read_text(encoding="utf-8")) if path else {}
        except (OSError, ValueError):
            result = {}
        return {key: result.get(key) for key in ("latency", "ratio_to_mo")}


def make_plan(args: Namespace) -> Plan:
    """The training that the flags mean; InputError where a thing that they name isn't there."""
    if args.continued is not None:
        return _continued(args)
    if (args.trial is None) == (args.genome is None):
        got = "neither --trial nor --genome" if args.trial is None else "both --trial and --genome"
        raise InputError(f"there must be one network to train, but got {got}; give one of them")
    if args.trial is not None and not args.study:
        raise InputError("--trial must come with its --study, but there is none; add --study dark")
    if args.from_trial_weights and args.weights:
        raise InputError(
            "the first weights must come from one place, but got --from-trial-weights and "
            "--weights; give one of them"
        )
    study = _study(args)
    if study is not None:  # as it was last run, else as its file says
        stored = dict(study.user_attrs.get("config", {}))
    else:
        stored = load_config(args.study).to_dict() if args.study else {}
    trial: Path | None = None
    if args.trial is not None:
        assert study is not None
        trial, genome, name = _trial(args, study)
    else:
        genome, name = read_genome(args.genome), args.genome
        trial = Path(args.genome) if Path(args.genome).is_dir() else None
    start, weights = _start(args, trial)
    device = resolve_device(args.device or str(stored.get("device", "auto")))
    data = _data(args, stored.get("data", {}))
    train = _train(args, {**stored.get("train", {}), "steps": STEPS, "ema_decay": EMA_DECAY})
    cache = args.runs if study is None else args.runs / study_name(args.study)
    return Plan(
        name=name,
        genome=genome,
        trial=trial,
        start=start,
        weights=weights,
        data=data,
        train=train,
        seed=int(stored.get("seed", 0)) if args.seed is None else args.seed,
        device=device,
        precision=_precision(args.precision, device),
        threads=args.threads,
        eval_steps=args.eval_steps or max(1, train.steps // 20),
        cache=cache / "cache",
    )


def _continued(args: Namespace) -> Plan:
    """The training of --continue with more steps; what else decides the weights stays."""
    folder: Path = args.continued
    others = {"--study": args.study, "--trial": args.trial, "--genome": args.genome}
    others |= {"--weights": args.weights, "--from-trial-weights": args.from_trial_weights or None}
    if given := [flag for flag, value in others.items() if value is not None]:
        raise InputError(
            f"--continue goes on with one training's network and recipe, but got {given[0]} too; "
            "leave that out"
        )
    if args.steps is None:
        raise InputError("--continue must come with more --steps, but there are none; add --steps")
    if folder.resolve() == args.out.resolve():
        raise InputError(
            f"--out must be another folder than --continue, so that nothing finished is lost, but "
            f"both are {folder}; give a new --out"
        )
    settings = read_settings(folder) if folder.is_dir() else None
    if settings is None or not (folder / BEFORE_COOLDOWN).is_file():
        raise InputError(
            f"--continue must be the folder of a training that has come to its cool-down, but "
            f"{folder} has no {BEFORE_COOLDOWN}; let the training end, or give another folder"
        )
    stored = {key.partition(".")[2]: value for key, value in settings.items() if "." in key}
    device = resolve_device(args.device or str(settings["device"]))
    train = _train(args, stored)
    plan = Plan(
        name=folder.name,
        genome=read_genome(str(folder / "genome.json")),
        trial=folder,
        start=f"{folder} before its cool-down",
        weights=None,
        data=_data(args, stored),
        train=train,
        seed=int(settings["seed"]) if args.seed is None else args.seed,
        device=device,
        precision=(
            str(settings["precision"])
            if args.precision == "auto"
            else _precision(args.precision, device)
        ),
        threads=args.threads or settings["threads"],
        eval_steps=args.eval_steps or max(1, train.steps // 20),
        cache=args.runs / "cache",
        continued=folder,
    )
    return plan


def _study(args: Namespace) -> optuna.Study | None:
    """The study to read from; None where there is none and --genome needs none."""
    if not args.study:
        return None
    stored = args.storage or (args.runs / study_name(args.study) / "study.db").is_file()
    if args.trial is None and not stored:
        return None
    return open_to_read(args.study, storage=args.storage, runs=args.runs)


def _trial(args: Namespace, study: optuna.Study) -> tuple[Path, Genome, str]:
    """Folder, genome and name of --trial; a repeat's are those of the trial that it repeats."""
    rows = {row.number: row for row in read_rows(study)}
    if args.trial not in rows:
        there = f"it has 0 to {max(rows)}" if rows else "it has none yet"
        raise InputError(
            f"--trial must be a trial of study {study.study_name!r}, but there is no "
            f"{args.trial}: {there}; choose one of them"
        )
    row = rows[args.trial]
    if row.repeat_of is not None:
        row = rows[row.repeat_of]
    text = study.get_trials(deepcopy=False)[row.number].user_attrs.get("genome")
    if text is None:
        raise InputError(
            f"a trial must have a network to be trained, but trial {args.trial} has none yet "
            f"({row.kind}); choose another"
        )
    place = row.directory or f"trials/{row.number:04d}"
    folder = inside(args.runs / study.study_name, place, "a trial's folder")
    name = f"trial {row.number}" + (f" {row.baseline}" if row.baseline else "")
    return folder, Genome.from_json(text), name


def _start(args: Namespace, trial: Path | None) -> tuple[str, tuple[str, str | None] | None]:
    if args.weights:
        return str(args.weights), (args.genome or str(trial), str(args.weights))
    if not args.from_trial_weights:
        return "scratch", None
    if trial is None:
        raise InputError(
            "--from-trial-weights needs a trial, but there is only a genome; give --trial N, a "
            "trial's folder as --genome, or --weights FILE"
        )
    if not (trial / WEIGHTS).is_file():
        raise InputError(
            f"the trial must have left weights to begin with, but there is no {trial / WEIGHTS} "
            "(it was not complete, or its folder is gone); choose another, or leave out "
            "--from-trial-weights"
        )
    return "trial's weights", (str(trial), None)


def _precision(precision: str, device: str) -> str:
    """float32, or bfloat16 where it was requested or a GPU supports it."""
    import torch

    if precision != "auto":
        return precision
    return "bfloat16" if device != "cpu" and torch.cuda.is_bf16_supported() else "float32"


def _source(data: str | None) -> str | None:
    if data is None or data == SYNTHETIC:
        return data
    folder = Path(data).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"--data must be a folder in SID's layout, but there is none at {data}; check the "
            f"path, or give --data {SYNTHETIC}"
        )
    return str(folder.resolve())


def _data(args: Namespace, stored: Mapping[str, Any]) -> DataConfig:
    """The data: the stored values, with the given flags; real pairs replace photos too."""
    source = _source(args.data)
    photos = None if args.photos is None else find_photos(args.photos)
    if source not in (None, SYNTHETIC):
        if photos is not None:
            raise InputError(
                f"--photos must go with --data {SYNTHETIC}, as real pairs have a camera's own "
                f"noise, but got --data {args.data}; leave one of them out"
            )
        stored = {**stored, "photos": None}
    data: DataConfig = _config(
        DataConfig, stored, {"source": source, "scenes": args.scenes, "photos": photos}
    )
    return data


def _train(args: Namespace, stored: Mapping[str, Any]) -> TrainConfig:
    """The recipe: the stored values, with the given flags."""
    flags = ("steps", "batch", "crop", "learning_rate", "ema_decay")
    train: TrainConfig = _config(TrainConfig, stored, {key: getattr(args, key) for key in flags})
    _check(train, args)
    return train


def _check(train: TrainConfig, args: Namespace) -> None:
    for flag, value in (("--eval-steps", args.eval_steps), ("--threads", args.threads)):
        if value is not None and value < 1:
            raise InputError(f"{flag} must be at least 1, but got {value}; raise it")
    rate, minutes = train.learning_rate, args.checkpoint_min
    for flag, value in (("--learning-rate", rate), ("--checkpoint-min", minutes)):
        if not 0 < value < float("inf"):
            raise InputError(f"{flag} must be above 0 and finite, but got {value:g}; change it")


def _config(kind: type[Any], stored: Mapping[str, Any], flags: Mapping[str, Any]) -> Any:
    """A config of the stored values that this version knows, with the given flags."""
    values = {**stored, **{key: value for key, value in flags.items() if value is not None}}
    return kind(**{key: values[key] for key in kind.__dataclass_fields__ if key in values})
