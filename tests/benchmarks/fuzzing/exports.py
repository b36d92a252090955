"""Exports (model.json, weights.safetensors) and finished trainings (result.json): an accepted one
is the network that was saved, weight for weight, and nothing outside of its folder was read.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from fuzzing.checks import require
from fuzzing.mutate import RAW_JSON, Tree, damaged
from nas.cli.networks import load_network
from nas.outputs.trained_model import of_training
from nas.study.records import Row
from space import Genome, NetworkInput, build_model, fold
from space.files.export_format import MODEL, WEIGHTS, load_model, read_saved, save

SMALL = Genome(
    skip_width=8, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
OTHER = Genome(
    skip_width=12, skip_block="rep", skip_blocks=1, merge_width=0, head="add", head_kernel=3
)
CHOICES: dict[str, list[Any]] = {
    "file": ["../outside/weights.safetensors", "/etc/passwd", WEIGHTS],
    "white_balanced": [True, False],
    "black_corrected": [True, False],
    "name": ["x", "é"],
    "skip_width": [8, 12],
    "dtype": ["F32", "F16", "I32", "F64", "BF16", "BOOL", "F8_E4M3", "X"],
    "shape": [[], [0], [8], [2**62, 4]],
    "data_offsets": [[0, 0], [0, 32], [-1, 4], [2**63, 2**63 + 4]],
    "genome": ["{}", "[", OTHER.to_json()],
}


class Exports:
    name = "export"

    def __init__(self, place: Path) -> None:
        self.whole = place / "export"
        self.whole.mkdir()
        torch.manual_seed(3)
        model = build_model(SMALL)
        quality = {"psnr_db": 25.1, "images": [{"name": "a", "psnr_db": 25.1, "ssim": 0.7}]}
        save(
            self.whole,
            model,
            name="it",
            network_input=NetworkInput(),
            more={"quality": quality, "onnx": {"file": "model.onnx"}},
        )
        self.wanted = fold(model).state_dict()
        self.stranger = place / "stranger.safetensors"
        save_file(
            {
                name: tensor.contiguous()
                for name, tensor in build_model(OTHER).state_dict().items()
            },
            self.stranger,
        )
        settings = {
            "device": "cpu",
            "seed": 0,
            "data.source": "synthetic",
            "data.scenes": 4,
            "data.digest": "x",
            "train.steps": 9,
        }
        self.result = {
            "digest": SMALL.digest,
            "psnr_db": 25.0,
            "ssim": 0.7,
            "images": [{"name": "a", "psnr_db": 25.0, "ssim": 0.7}],
            "train_seconds": 3.5,
            "training": {
                "settings": settings,
                "data": {"kind": "synthetic", "digest": "x"},
                "steps": 9,
            },
        }

    def prepare(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        if chance.random() < 0.15:
            return self._training(chance, folder)
        place = folder / "export"
        shutil.copytree(self.whole, place)
        how = chance.choices(("model", "header", "weights", "link"), (10, 5, 4, 2))[0]
        if how == "model":
            _mutate_json(place / MODEL, chance)
        elif how == "header":
            (place / WEIGHTS).write_bytes(_other_header((place / WEIGHTS).read_bytes(), chance))
        elif how == "weights":
            data = (place / WEIGHTS).read_bytes()
            (place / WEIGHTS).write_bytes(
                self.stranger.read_bytes() if chance.random() < 0.1 else damaged(data, chance)
            )
        else:
            self._link(place, folder.parent / "outside", chance)
        if (
            how in ("header", "weights") and chance.random() < 0.3
        ):  # an older export has no digest of its weights
            content = json.loads((place / MODEL).read_text(encoding="utf-8"))
            del content["weights"]["sha256"]
            (place / MODEL).write_text(json.dumps(content), encoding="utf-8")
        if chance.random() < 0.5:
            return lambda: self._check(place, load_model(place))
        return lambda: self._check(place, fold(load_network(str(place), None).model))

    def _check(self, place: Path, model: Any) -> None:
        saved = read_saved(place)
        require(saved.genome == SMALL and model.genome == SMALL, "it is another network")
        require(saved.name.isprintable() and len(saved.name) <= 200, "its name can't be shown")
        has = model.state_dict()
        content = json.loads((place / MODEL).read_text(encoding="utf-8"))
        if "sha256" in content.get("weights", {}):
            require(
                all(torch.equal(has[name], tensor) for name, tensor in self.wanted.items()),
                "its weights are others",
            )
        require(
            all(bool(tensor.isfinite().all()) for tensor in has.values()),
            "its weights are no numbers",
        )
        with torch.no_grad():
            require(model(torch.rand(1, 1, 16, 16)).shape == (1, 3, 16, 16), "its output is wrong")

    def _link(self, place: Path, outside: Path, chance: random.Random) -> None:
        """A file of the export is a link to one outside that would fit."""
        name = chance.choice([MODEL, WEIGHTS])
        shutil.copy(place / name, outside / name)
        (place / name).unlink()
        there = chance.choice(
            [
                outside / name,
                Path("../../outside") / name,
                Path("/dev/zero"),
                Path(name),
                Path("/proc/self/mem"),
            ]
        )
        os.symlink(there, place / name)

    def _training(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        path = folder / "result.json"
        path.write_text(json.dumps(self.result), encoding="utf-8")
        _mutate_json(path, chance)
        return lambda: _check_training(folder)


def _check_training(folder: Path) -> None:
    found = of_training(Row(number=7, kind="complete", digest=SMALL.digest), folder)
    require(
        isinstance(found.psnr_db, float) and isinstance(found.data.scenes, int),
        "its figures are none",
    )
    require(
        f"{found.psnr_db:.2f} {found.ssim:.4f} {found.seconds:.1f} {found.seed:d}" != "",
        "they can't be printed",
    )
    require(
        all(f"{image['name']} {image['psnr_db']:.2f}" for image in found.images),
        "its pictures can't be printed",
    )


def _mutate_json(path: Path, chance: random.Random) -> None:
    tree = Tree(json.loads(path.read_text(encoding="utf-8")), chance, CHOICES)
    for _ in range(chance.choice((1, 1, 2))):
        tree.mutate(RAW_JSON)
    data = tree.json().encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(data, chance) if chance.random() < 0.15 else data)


def _other_header(data: bytes, chance: random.Random) -> bytes:
    """A safetensors file with another header: its JSON mutated, or its length a wrong one."""
    (length,) = struct.unpack("<Q", data[:8])
    tree = Tree(json.loads(data[8 : 8 + length]), chance, CHOICES)
    for _ in range(chance.choice((1, 1, 2))):
        tree.mutate(RAW_JSON)
    header = tree.json().encode("utf-8", "surrogatepass")
    header += b" " * (-len(header) % 8)
    content = (
        len(header)
        if chance.random() < 0.8
        else chance.choice([0, 1, length, 2**31, 2**62, 2**64 - 1, 100_000_001])
    )
    return struct.pack("<Q", content) + header + data[8 + length :]
