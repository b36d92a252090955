"""One TOML file and a few flags become a frozen, checked `StudyConfig`.

A key is either fixed once the first trial has started, since trials of one study must be
comparable (data, training, latency, seed, device), or free to change (trials, sampler, limit ...).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from nas.study.reader import check_name
from space import DesignSpace, InputError
from space.errors import brief
from trials.config import (
    COLOURS,
    LOSSES,
    OPTIMIZERS,
    DataConfig,
    LatencyConfig,
    TrainConfig,
    TrialConfig,
)
from trials.training.rungs import rung_steps

T = TypeVar("T")
STUDIES = Path(__file__).parents[1] / "studies"
SYNTHETIC = "synthetic"
# Bytes of a study's file; dark.toml has 5,000.
LARGEST_FILE = 65_536
# Dots in one of its lines: the time that a dotted key takes grows with their square.
MOST_DOTS = 100
SECTIONS: dict[str, Any] = {"data": DataConfig, "train": TrainConfig, "latency": LatencyConfig}

SECONDS = (1e-3, 86_400.0)
# key: (smallest, largest), far from what makes sense: they keep out what would overflow or hang.
RANGES: dict[str, tuple[float, float]] = {
    "trials": (1, 1_000_000),
    "seed": (0, 2**32 - 1),
    "timeout_min": (1e-6, 10_000_000.0),
    "latency_limit_ms": (1e-6, 1e9),
    "checkpoint_s": (1e-6, 10_000_000.0),
    "heartbeat_s": (1, 10_000_000.0),
    "data.scenes": (1, 1_000_000),
    "data.scene_size": (32, 16_384),
    "data.held_out": (1, 100_000),
    "data.iso_min": (1, 10_000_000),
    "data.iso_max": (1, 10_000_000),
    "data.ratio_min": (1, 1e6),
    "data.ratio_max": (1, 1e6),
    "data.dim_share": (0, 1),
    "data.uncalibrated_share": (0, 1),
    "data.photo_share": (1e-6, 1),
    "data.photo_scenes": (1, 1_000_000),
    "data.seed": (0, 2**32 - 1),
    "train.steps": (1, 1_000_000_000),
    "train.batch": (1, 65_536),
    "train.crop": (64, 16_384),
    "train.learning_rate": (1e-12, 1e3),
    "train.warmup_steps": (0, 1_000_000_000),
    "train.cooldown": (0, 1),
    "train.grad_clip": (1e-12, 1e12),
    "train.ema_decay": (0, 1 - 1e-9),
    "train.ms_ssim_weight": (0, 1),
    "train.first_rung": (1, 1_000_000_000),
    "latency.height": (1, 65_536),
    "latency.width": (1, 65_536),
    "latency.threads": (1, 1024),
    "latency.warmup_runs": (1, 1_000_000),
    "latency.min_runs": (1, 1_000_000),
    "latency.precision": (1e-6, 1e6),
    "latency.max_seconds": SECONDS,
    "latency.front_seconds": SECONDS,
}
CHOICES = {"data.colours": COLOURS, "train.optimizer": OPTIMIZERS, "train.loss": LOSSES}
# The first may not be above the second; the sizes of real photos are known only once read.
ORDERED = (
    ("data.iso_min", "data.iso_max"),
    ("data.ratio_min", "data.ratio_max"),
    ("train.crop", "data.scene_size"),
)


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """One study; InputError where a value is out of its range.

    A resumed study may change what is not in `fixed`.
    """

    name: str
    """The study's name: that of its TOML file."""
    trials: int = 24
    """Finished trials of different genomes in the whole study, the three baselines included."""
    timeout_min: float | None = None
    """Minutes after which no new trial starts (the running one ends); None: no limit."""
    sampler: str = "auto"
    """Who proposes genomes: auto (by budget), structure, random, tpe, nsga2 or gp."""
    seed: int = 0
    """Seeds the sampler, the weights and the order of the training crops."""
    device: str = "auto"
    """Where trials train and are timed: auto (a GPU if there is one), cpu, cuda or cuda:N."""
    latency_device: str | None = None
    """Model of the device that times all networks (workers on others only train), by its maker's
    name; None: that of the study's first process, and no other may join."""
    stopping: bool = True
    """Whether a trial is stopped at a rung where it is not among the best third so far."""
    checkpoint_s: float = 20.0
    """Seconds between two checkpoints of a running trial: what a killed process loses at most."""
    heartbeat_s: float = 60.0
    """Seconds between a running trial's signs of life; without three it is taken over."""
    latency_limit_ms: float | None = None
    """Genomes slower than this are not trained, milliseconds; None: no limit."""
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    latency: LatencyConfig = field(default_factory=LatencyConfig)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.train.crop % 64:
            raise InputError(
                f"train.crop must be a multiple of 64, but got {self.train.crop}; change it"
            )
        values = self.to_dict()
        _check_ranges(values | _flat(values))
        rung_steps(self.train.steps, self.train.first_rung)

    def for_trial(self) -> TrialConfig:
        """What one trial needs to know."""
        sections = {section: getattr(self, section) for section in SECTIONS}
        return TrialConfig(seed=self.seed, device=self.device, **sections)

    def to_dict(self) -> dict[str, Any]:
        """All keys as plain JSON values."""
        return {key: _plain(value) for key, value in dataclasses.asdict(self).items()}

    def fixed(self) -> dict[str, Any]:
        """The keys that may not change in a study, flat ("train.steps"), as plain JSON values.

        "device" is only its kind, so that a study may go on on another GPU of the machine; "space"
        is a digest of the genes and their choices, which change when the program does.
        """
        genes = repr([(gene.name, gene.choices, gene.ordered) for gene in DesignSpace().genes])
        space = hashlib.sha256(genes.encode()).hexdigest()[:12]
        own = {"seed": self.seed, "device": self.device.partition(":")[0], "space": space}
        return own | _flat(self.to_dict())


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value for section in SECTIONS for key, value in values[section].items()
    }


def _check_ranges(flat: Mapping[str, Any]) -> None:
    for key, (low, high) in RANGES.items():
        value = flat.get(key)
        if value is not None and not low <= value <= high:
            raise InputError(
                f"{key} must be from {low:.12g} to {high:.12g}, but got {brief(value)}; change it"
            )
    for key, choices in CHOICES.items():
        if (word := flat.get(key)) is not None and word not in choices:
            raise InputError(
                f"{key} must be one of {', '.join(choices)}, but got {brief(word)}; choose one"
            )
    if flat.get("data.photos") is not None and flat.get("data.source") != SYNTHETIC:
        raise InputError(
            f"data.photos must go with data.source {SYNTHETIC}, as real pairs have a camera's own "
            f"noise, but got {brief(flat['data.source'])}; leave one of them out"
        )
    for smaller, larger in ORDERED if flat.get("data.source") == SYNTHETIC else ():
        one, other = flat.get(smaller), flat.get(larger)
        if one is not None and other is not None and one > other:
            raise InputError(
                f"{smaller} must not be above {larger}, but they are {one:.12g} and {other:.12g}; "
                "lower the first or raise the second"
            )


def load_config(study: str, changes: Mapping[str, Any] | None = None) -> StudyConfig:
    """The study that a name (of nas/studies/) or a path to a TOML file means.

    `changes` come from flags, flat as in `StudyConfig.fixed`; None means "as the file says".
    Raises InputError where there is no such study, or a key is unknown, ill-typed or out of range.
    """
    path = _find(study)
    values = _read(path)
    flags = {key: value for key, value in (changes or {}).items() if value is not None}
    for key, value in flags.items():
        section, _, name = key.rpartition(".")
        table = values.setdefault(section, {}) if section else values
        if isinstance(table, dict):
            table[name] = value
    if "name" in values:
        raise InputError(f"{path}: unknown key 'name'; a study has its file's name: rename that")
    try:
        made: dict[str, Any] = {
            key: make_section(kind, values.pop(key, {}), key + ".")
            for key, kind in SECTIONS.items()
        }
        data = made["data"]
        photos = None if data.photos is None else find_photos(str(data.photos))
        made["data"] = replace(data, source=_source(str(data.source)), photos=photos)
        return make_section(StudyConfig, {**values, **made, "name": path.stem}, "")
    except InputError as error:
        if not flags:
            raise InputError(f"{path}: {error}") from error
        load_config(study)  # an error of the file is raised here, with its name; else it's a flag
        raise


def _read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; InputError where it is none, or larger than any study's."""
    example = f"see {STUDIES / 'dark.toml'}"
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise InputError(f"{path} may have {LARGEST_FILE} bytes, but has {size}; {example}")
        text = path.read_text(encoding="utf-8")
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
        if any(line.count(".") > MOST_DOTS for line in lines):
            raise InputError(f"{path} may have {MOST_DOTS} dots in a line, not more; {example}")
        return tomllib.loads(text)
    except InputError:
        raise
    except OSError as error:
        why = error.strerror
        raise InputError(f"{path} must be readable, but: {why}; check the path") from error
    except (ValueError, RecursionError) as error:
        # No TOML, no UTF-8, a number of thousands of digits, a thousand brackets.
        raise InputError(f"{path} must be a TOML file, but: {error}; {example}") from error


def studies() -> list[str]:
    """The names of the studies that come with the program."""
    return sorted(path.stem for path in STUDIES.glob("*.toml"))


def resolve_device(device: str) -> str:
    """What `device` (auto, cpu, cuda, cuda:N) means here; InputError where there is none."""
    import torch  # only here: a refused flag or --help should not wait for torch

    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        index and not (kind == "cuda" and index in map(str, range(1000)))
    ):
        raise InputError(
            f"device must be auto, cpu, cuda or cuda:N, but got {brief(device)}; change it"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and not count:
        raise InputError(
            f"device {device!r} needs a GPU, but torch {torch.__version__} sees none; use cpu"
        )
    if index and int(index) >= count:
        raise InputError(
            f"device must be cuda:0 to cuda:{count - 1} here, but got {device!r}; change it"
        )
    if kind == "auto":
        return "cuda" if count else "cpu"
    return device


def settle(config: StudyConfig) -> StudyConfig:
    """`config` with what "auto" and None mean on this machine: device, runtime, shape, threads.

    So a resumed study finds out that its latencies would no longer compare. Raises InputError for
    a device that isn't there, or that can't do what [latency] wants.
    """
    import torch

    from trials.device.precision import settled_dtype
    from trials.latency.deployment import check_form
    from trials.latency.measure import check_config, frame_size

    device = resolve_device(config.device)
    check_config(config.latency)
    runtime = check_form(config.latency, torch.device(device))
    height, width = frame_size(config.latency, device)
    threads = config.latency.threads or torch.get_num_threads()
    latency = replace(config.latency, height=height, width=width, threads=threads, runtime=runtime)
    train = replace(config.train, dtype=settled_dtype(config.train.dtype, torch.device(device)))
    return replace(config, device=device, latency=latency, train=train)


def _find(study: str) -> Path:
    if study in studies():
        return STUDIES / f"{study}.toml"
    path = Path(os.path.expanduser(study))
    if path.suffix == ".toml" and os.path.isfile(path):
        return path
    what = f"file {study}" if path.suffix == ".toml" else repr(study)
    names = ", ".join(studies())
    raise InputError(f"there is no study {what}; there are: {names} (or give a TOML file's path)")


def _source(source: str) -> str:
    """SYNTHETIC, or the data folder's absolute path: a study may go on from elsewhere."""
    if source == SYNTHETIC:
        return source
    folder = Path(os.path.expanduser(source))
    if not source or not os.path.isdir(folder):
        name = source or "(its name is empty)"
        raise InputError(
            f"there is no data folder {name}; give one in SID's layout, or --data {SYNTHETIC}"
        )
    return str(folder.resolve())


def find_photos(photos: str) -> str:
    """The absolute path of the folder of photos; InputError where there is none."""
    folder = Path(os.path.expanduser(photos))
    if not photos or not os.path.isdir(folder):
        raise InputError(
            f"photos must be a folder, but there is none at {brief(photos)}; check the path"
        )
    return str(folder.resolve())


def make_section(kind: type[T], values: Any, prefix: str) -> T:
    """The `kind` (DataConfig ...) of a table; InputError where a key, which `prefix` precedes in
    messages, is unknown or ill-typed.
    """
    if not isinstance(values, dict):
        raise InputError(f"[{prefix[:-1]}] must be a table, but got {brief(values)}; change it")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind) if f.name != "name"]  # type: ignore[arg-type]
    given = {}
    for key, value in values.items():
        if key not in hints:
            names = ", ".join(prefix + name for name in known)
            raise InputError(f"unknown key {brief(prefix + key)}; there are {names}")
        given[key] = _typed(prefix + key, value, hints[key])
    return kind(**given)


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _typed(key: str, value: Any, hint: Any) -> Any:
    """`value` as `hint` wants it: an int is also a float, a list a tuple; or InputError."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _typed(key, value, next(arg for arg in args if arg is not types.NoneType))
    if origin is typing.Literal:
        if value in args:
            return value
        raise InputError(
            f"{key} must be one of {', '.join(map(str, args))}, but got {brief(value)}; change it"
        )
    if origin is tuple:
        if isinstance(value, (list, tuple)) and (args[-1] is Ellipsis or len(args) == len(value)):
            kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
            return tuple(_typed(key, item, kind) for item, kind in zip(value, kinds, strict=True))
        expected = f"a list of {'' if args[-1] is Ellipsis else f'{len(args)} '}values"
    elif hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        # An int beyond floats becomes infinity, which no key takes.
        return float(value) if isinstance(value, float) or abs(value) < 1e300 else math.inf
    elif isinstance(value, hint) and (hint is bool or not isinstance(value, bool)):
        return value
    else:
        expected = _WORDS.get(hint, "a table")
    raise InputError(f"{key} must be {expected}, but got {brief(value)}; change it")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
