"""What a network costs on paper: parameters and multiply-accumulates, in all and part by part
(fvcore).
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch

from space.genome import Genome
from space.model import build_model, fold

with (
    warnings.catch_warnings()
):  # fvcore compiles its losses on import, which newer torch calls deprecated
    warnings.simplefilter("ignore")
    from fvcore.nn import FlopCountAnalysis


@dataclass(frozen=True, kw_only=True)
class Cost:
    """`parameters` as trained (weight norm's g and v both counted, as published),
    `deployed_parameters` after folding, `macs` multiply-accumulates for one mosaic of height x
    width, and `parts` the MACs of each part ("skip", "stem32", "chain32", "up32", "refine32",
    "meet", "merge", "head"), which sum to `macs`.
    """

    parameters: int
    deployed_parameters: int
    macs: int
    parts: dict[str, int]
    height: int
    width: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def count_cost(genome: Genome, height: int, width: int) -> Cost:
    """The cost of one mosaic of height x width pixels (rounded up to the network's multiple).

    Every convolution has 'same' padding, so MACs grow exactly with the area: one small tile is
    traced by fvcore and scaled, and a 50 megapixel frame costs no more to count than a thumbnail.
    """
    multiple = genome.size_multiple
    height, width = (-(-size // multiple) * multiple for size in (height, width))
    with torch.random.fork_rng(devices=[]):
        model = build_model(genome).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    deployed = fold(model)
    tile = torch.zeros(1, 1, multiple, multiple)
    tiles = (height // multiple) * (width // multiple)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, about shapes that are constant here
        logging.getLogger("fvcore").setLevel(logging.ERROR)
        analysis = (
            FlopCountAnalysis(deployed, tile)
            .unsupported_ops_warnings(False)
            .uncalled_modules_warnings(False)
        )
        by_module = analysis.by_module()
    parts: dict[str, int] = {}
    for path, module in deployed.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            name = _part(path, genome)
            parts[name] = parts.get(name, 0) + int(by_module[path]) * tiles
    return Cost(
        parameters=parameters,
        deployed_parameters=sum(parameter.numel() for parameter in deployed.parameters()),
        macs=int(by_module[""]) * tiles,
        parts=parts,
        height=height,
        width=width,
    )


def _part(path: str, genome: Genome) -> str:
    """deep.branches.1.up.0 -> "up16" for a genome whose second branch is at 16x."""
    names = path.split(".")
    if names[0] != "deep":
        return names[0]
    if names[1] != "branches":
        return "meet"
    return f"{names[3]}{genome.branches[int(names[2])].scale}"
