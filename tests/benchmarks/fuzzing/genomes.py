"""Genomes as JSON: an accepted one says what its text said, survives JSON, can be built, counted
and drawn.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch

from fuzzing.checks import require
from fuzzing.mutate import RAW_JSON, Tree, damaged
from nas.cli.networks import read_genome
from nas.outputs.drawing import draw_network
from space import BASELINES, DesignSpace, Genome, build_model

CHOICES: dict[str, list[Any]] = {
    "scale": [8, 16, 32, 64],
    "width": [1, 4, 16, 32, 64, 128, 512],
    "stem_groups": [1, 2, 4, 16, 64],
    "blocks": [0, 1, 2, 8],
    "block": ["rdb", "residual", "rep"],
    "layers": [1, 4, 12],
    "first_layers": [1, 5, 12],
    "growth": [1, 32, 128],
    "refine": [True, False],
    "deep_width": [1, 8, 512],
    "fusion": ["concat", "sum", "dual", "cascade"],
    "skip_width": [1, 64, 512],
    "skip_block": ["residual", "rep"],
    "skip_blocks": [0, 1, 8],
    "merge_width": [0, 1, 64, 512],
    "merge_groups": [1, 2, 64],
    "merge_shuffle": [True, False],
    "expand_kernel": [1, 3],
    "head": ["none", "add", "concat"],
    "head_kernel": [1, 3, 5],
    "head_width": [1, 64],
    "merge_channels": [1, 12, 64],
    "fine_width": [0, 8, 512],
    "fine_block": ["residual", "rep"],
    "fine_blocks": [0, 1, 8],
    "fine_kernel": [1, 3],
}
# Genes that may be dropped, or changed to the one spelling of a network (see Genome).
MAY_VANISH = {
    "deep_width",
    "fusion",
    "skip_block",
    "merge_groups",
    "head_kernel",
    "head_width",
    "merge_channels",
    "block",
    "layers",
    "first_layers",
    "growth",
    "fine_width",
    "fine_block",
    "fine_blocks",
    "fine_kernel",
}
DEFAULTS = {"merge_shuffle": False, "expand_kernel": 3, "refine": False, "branches": []}
# A pass through the network is tried up to this many parameters.
SMALL = 300_000


class Genomes:
    name = "genome"

    def __init__(self, place: Path) -> None:
        space, chance = DesignSpace(), random.Random(5)
        self.bases = [
            *BASELINES.values(),
            *(space.decode(space.sample(chance)) for _ in range(40)),
        ]
        with torch.device("meta"):  # torch makes its own folders when that is first used
            build_model(self.bases[0])

    def prepare(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        tree = Tree(chance.choice(self.bases).to_dict(), chance, CHOICES)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            tree.mutate(RAW_JSON)
        text = tree.json()
        data = text.encode("utf-8", "surrogatepass")
        if chance.random() < 0.15:
            data = damaged(data, chance)
        path = folder / "genome.json"
        path.write_bytes(data)
        where = str(chance.choice([path, folder]))
        return lambda: check(read_genome(where), data.decode("utf-8"), chance)


def check(genome: Genome, text: str, chance: random.Random) -> None:
    """What holds of an accepted genome."""
    again = Genome.from_json(genome.to_json())
    require(again == genome and again.digest == genome.digest, "it does not survive JSON")
    parsed, has = json.loads(text), genome.to_dict()
    _same(parsed, has, "")
    given = {branch["scale"]: branch for branch in parsed.get("branches", [])}
    require(set(given) == {branch.scale for branch in genome.branches}, "it has other branches")
    for branch in has["branches"]:
        _same(given[branch["scale"]], branch, f"{branch['scale']}x ")
    if chance.random() < 0.3:
        with torch.device("meta"):
            shapes = build_model(genome).state_dict()
        require(bool(shapes), "it has no weights")
        if sum(tensor.numel() for tensor in shapes.values()) < SMALL:
            side = genome.size_multiple
            with torch.no_grad():
                out = build_model(genome).eval()(torch.rand(1, 1, side, 2 * side))
            require(
                out.shape == (1, 3, side, 2 * side) and bool(out.isfinite().all()),
                "its output is wrong",
            )
        ElementTree.fromstring(draw_network(genome, title="it"))


def _same(parsed: dict[str, Any], has: dict[str, Any], where: str) -> None:
    for key, value in has.items():
        if key in ("schema", "branches"):
            continue
        wanted = parsed.get(key, DEFAULTS.get(key))
        if key == "fusion" and wanted == "dual":
            wanted = value if value in ("dual", "concat") else wanted  # nothing is refined
        elif key == "merge_shuffle" and (has["merge_width"] == 0 or has["merge_groups"] == 1):
            wanted = False
        elif key in ("layers", "first_layers"):
            allowed = [parsed.get("layers"), parsed.get("first_layers")]
            wanted = value if value in allowed else allowed
        require(
            value == wanted and type(value) is type(wanted),
            f"{where}{key} is {value!r}, and the text says {wanted!r}",
        )
    for key, value in parsed.items():
        require(
            key in has or key in MAY_VANISH or value is None,
            f"{where}{key} is in the text, but not in the genome",
        )
