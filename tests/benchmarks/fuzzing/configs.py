"""Studies as TOML files: an accepted one holds what its text said, survives to_dict and a file,
and can be begun.
"""

from __future__ import annotations

import json
import math
import random
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzzing.checks import require
from fuzzing.mutate import RAW_TOML, VALUES, Tree, damaged, toml_of
from nas.study.config import STUDIES, load_config, settle
from space import InputError
from trials.data.synthetic import check as check_synthetic
from trials.raw.sensor import load_sensor
from trials.training.rungs import rung_steps

CHOICES: dict[str, list[Any]] = {
    "trials": [1, 5, 1000],
    "timeout_min": [0.5, 60, 1e4],
    "sampler": ["auto", "structure", "random", "tpe", "nsga2", "gp"],
    "seed": [0, 7],
    "device": ["auto", "cpu", "cuda:1", "cuda:x", "tpu"],
    "stopping": [True, False],
    "latency_limit_ms": [1, 60.5],
    "scenes": [1, 64],
    "scene_size": [128, 512],
    "held_out": [1, 40],
    "iso_min": [50, 100],
    "iso_max": [25600, 51200],
    "ratio_min": [1, 100.0],
    "ratio_max": [100, 300.0],
    "steps": [1, 30, 450, 20000],
    "batch": [1, 64],
    "crop": [64, 128, 192],
    "learning_rate": [1e-4, 1],
    "warmup_steps": [0, 10],
    "ema_decay": [0, 0.999],
    "first_rung": [1, 16, 450],
    "height": [64, 2848],
    "width": [64, 4256],
    "dtype": ["float32", "bfloat16", "auto", "int8"],
    "runtime": ["eager", "auto"],
    "threads": [1, 8],
    "source": ["synthetic", "/no/where", "../outside", ""],
}
BOMBS = [
    "a." * 20_000 + "a = 1\n",
    "a." * 30_000,
    "[" + "a." * 20_000 + "a]\n",
    "a = 1\n" * 9000,
    "[data]\n[data]\n",
    "x" * 70_000,
]
NAMES = [
    "mine",
    "mine",
    "mine",
    "my study",
    "é漢",
    ".hidden",
    "..",
    "...",
    "A" * 90,
    "A" * 150,
    "new\nline",
    "a;b",
    "-x",
    "x.y",
]
FLAGS = (
    "trials",
    "train.steps",
    "data.source",
    "device",
    "data",
    "seed",
    "train.crop",
    "no.such",
    "name",
    "data.name",
    "",
)


class Configs:
    name = "config"

    def __init__(self, place: Path) -> None:
        self.base = tomllib.loads((STUDIES / "dark.toml").read_text(encoding="utf-8"))
        full = {
            "timeout_min": 20.0,
            "latency_limit_ms": 60.0,
            "heartbeat_s": 60.0,
            "checkpoint_s": 20.0,
        }
        self.full = {
            **full,
            **self.base,
            "train": {**self.base["train"], "first_rung": 16},
            "latency": {**self.base["latency"], "height": 512, "width": 512, "threads": 2},
        }

    def prepare(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        tree = Tree(chance.choice([self.base, self.full, {"trials": 3}]), chance, CHOICES)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            tree.mutate(RAW_TOML)
        data = tree.toml().encode("utf-8", "surrogatepass")
        if chance.random() < 0.15:
            data = damaged(data, chance)
        elif chance.random() < 0.03:
            data = chance.choice(BOMBS).encode() + data
        name = chance.choice(NAMES)
        path = folder / f"{name}.toml"
        path.write_bytes(data)
        flags = (
            {chance.choice(FLAGS): chance.choice([3, 64, *VALUES])}
            if chance.random() < 0.1
            else {}
        )
        return lambda: _try(path, data, flags)


def _try(path: Path, data: bytes, flags: dict[str, Any]) -> None:
    config, name = load_config(str(path), flags), path.stem
    require(
        config.name == name and "/" not in name and not name.startswith("."),
        f"its name is {config.name!r}",
    )
    parsed = config.to_dict()
    json.dumps([parsed, config.fixed()], allow_nan=False)
    (path.parent / "again").mkdir()
    again = path.parent / "again" / path.name
    again.write_text(
        toml_of({key: value for key, value in parsed.items() if key != "name"}), encoding="utf-8"
    )
    require(load_config(str(again)) == config, "it does not survive to_dict and a file")
    if not flags:
        _same(tomllib.loads(data.decode("utf-8")), parsed, "")
    require(
        rung_steps(config.train.steps, config.train.first_rung)[-1] == config.train.steps,
        "its last rung is not its end",
    )
    _begin(config)


def _begin(config: Any) -> None:
    """What the search does with it before any training: all of it may be refused, in words."""
    try:
        settle(config)
        check_synthetic(config.data)
        load_sensor(config.data.sensor).between(config.data.iso_min, config.data.iso_max)
    except InputError as error:
        require(str(error).isprintable(), "beginning it fails in no good words")


def _same(parsed: dict[str, Any], has: dict[str, Any], where: str) -> None:
    for key, value in parsed.items():
        if isinstance(value, dict):
            _same(value, has[key], f"{where}{key}.")
        elif key != "source":
            require(
                value == has[key] and isinstance(value, bool) == isinstance(has[key], bool),
                f"{where}{key} is {has[key]!r}",
            )
            require(
                not isinstance(has[key], float) or math.isfinite(has[key]),
                f"{where}{key} is no finite number",
            )
