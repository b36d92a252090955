"""Published checkpoints, the one pickle that is read from outside: an accepted one holds the
network's weights, and nothing was run.
"""

from __future__ import annotations

import io
import os
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fuzzing.checks import require
from fuzzing.mutate import damaged
from space import BASELINES, build_model, load_reference_checkpoint
from space.files.published_weights import SUFFIXES, published_layers

PROGRAMS: list[Any] = [
    os.system,
    os.mkdir,
    eval,
    exec,
    print,
    open,
    __import__,
    getattr,
    torch.load,
]


class Program:
    """What a pickle would call when it is read."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, ("made-by-a-pickle",)


class Checkpoints:
    name = "checkpoint"

    def __init__(self, place: Path) -> None:
        torch.manual_seed(2)
        theirs = {ours: published for published, ours in published_layers("MO")[0].items()}
        suffixes = {ours: published for published, ours in SUFFIXES.items()}
        self.state: dict[str, Any] = {}
        for name, tensor in build_model(BASELINES["MO"]).state_dict().items():
            suffix = next(suffix for suffix in suffixes if name.endswith("." + suffix))
            self.state[f"{theirs[name.removesuffix('.' + suffix)]}.{suffixes[suffix]}"] = tensor
        self.files = [self._saved(zipped) for zipped in (True, False)]

    def _saved(self, zipped: bool, **more: Any) -> bytes:
        file = io.BytesIO()
        torch.save({"model": self.state, **more}, file, _use_new_zipfile_serialization=zipped)
        return file.getvalue()

    def prepare(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        path = folder / "mo.pt"
        data = chance.choice(self.files)
        how = chance.choices(("head", "tail", "any", "state", "program"), (5, 4, 2, 4, 1))[0]
        if how == "head":
            data = damaged(data, chance, within=30_000)
        elif how == "tail":
            data = data[:-30_000] + damaged(data[-30_000:], chance)
        elif how == "any":
            data = damaged(data, chance)
        elif how == "state":
            data = _saved_otherwise(self.state, chance)
        else:
            program = Program(chance.choice(PROGRAMS))
            data = chance.choice(
                [
                    pickle.dumps({"model": program}),
                    self._saved(chance.random() < 0.5, more=program),
                ]
            )
        path.write_bytes(data)
        return lambda: _check(path)


def _check(path: Path) -> None:
    model = load_reference_checkpoint("MO", path)
    require(model.genome == BASELINES["MO"] and not model.training, "it is another network")
    require(
        all(bool(tensor.isfinite().all()) for tensor in model.state_dict().values()),
        "its weights are no numbers",
    )


def _saved_otherwise(state: dict[str, Any], chance: random.Random) -> bytes:
    """A checkpoint with one tensor dropped, renamed, of another shape or type, or no tensor at
    all.
    """
    other: dict[Any, Any] = dict(state)
    name = chance.choice(list(other))
    tensor = other.pop(name)
    odd = [
        tensor[:0],
        tensor.double(),
        tensor.half(),
        tensor.int(),
        tensor.bool(),
        tensor * float("nan"),
        tensor.to(torch.complex64),
        tensor.flatten(),
        tensor.to_sparse(),
        torch.zeros(()),
        3,
        "x",
        None,
        [tensor],
        {"x": tensor},
        tensor.clone(),
    ]
    kind = chance.choice(("drop", "rename", "odd", "odd", "key", "bare", "list"))
    if kind == "rename":
        other["module." + name if chance.random() < 0.5 else name + "x"] = tensor
    elif kind == "odd":
        other[name] = chance.choice(odd)
    elif kind == "key":
        other[chance.choice([3, None, ("a",), "A" * 5000, "é\n", ""])] = tensor
    whole = {"model": other} if kind != "bare" else {**other, name: tensor}
    file = io.BytesIO()
    torch.save([whole] if kind == "list" else whole, file)
    return file.getvalue()
