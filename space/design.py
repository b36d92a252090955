"""The design space: every gene with its choices, and the way between flat parameters and genomes.

A sampler sees flat parameters (whole numbers and words only). `decode` turns any combination of
choices into a canonical genome that builds; `encode` is its way back, with the first choice for
genes that don't act.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd
from typing import Any

from space.blocks import BLOCKS, PLAIN_BLOCKS
from space.errors import InputError
from space.genome import FUSIONS, HEADS, SCALES, Branch, Genome

Value = int | str


@dataclass(frozen=True, kw_only=True)
class Gene:
    """A parameter and all its values; `ordered` ones are evenly spaced whole numbers."""

    name: str
    choices: tuple[int, ...] | tuple[str, ...]
    ordered: bool
    help: str


def _steps(name: str, low: int, high: int, step: int, help: str) -> Gene:
    return Gene(name=name, choices=tuple(range(low, high + 1, step)), ordered=True, help=help)


def _choice(name: str, choices: tuple[int, ...] | tuple[str, ...], help: str) -> Gene:
    return Gene(name=name, choices=choices, ordered=False, help=help)


_SWITCH = ("off", "on")
# A pixel shuffle from 64x to 8x divides the channels by 64: that branch is 64 wide or 128, the
# others 16 to 64.
_WIDTHS = {8: (16, 64, 16), 16: (16, 64, 16), 32: (16, 64, 16), 64: (64, 128, 64)}
_GROUPS = (16, 64, 128)
_FEWEST_LAYERS = 3


def _branch_genes(scale: int) -> tuple[Gene, ...]:
    s = f"s{scale}_"
    groups = "groups of its stem (the largest common divisor with the stem's channels acts)"
    return (
        _choice(f"s{scale}", _SWITCH, f"is there a deep branch at {scale}x?"),
        _steps(s + "width", *_WIDTHS[scale], "channels of its features"),
        _choice(s + "groups", _GROUPS, groups),
        _choice(s + "block", tuple(BLOCKS), "what its chain is made of"),
        _steps(s + "blocks", 0, 4, 1, "blocks in its chain"),
        _steps(s + "layers", _FEWEST_LAYERS, 6, 1, "convolutions in a dense block"),
        _choice(s + "first", ("same", "fewer"), "is the first dense block a convolution shorter?"),
        _steps(s + "growth", 8, 32, 8, "channels that each of them adds"),
        _choice(s + "refine", _SWITCH, "one more block after the branch is upsampled?"),
    )


_NETWORK_GENES = (
    _steps("deep_width", 16, 64, 16, "channels in which the deep branches are fused at 8x"),
    _choice("fusion", FUSIONS, "how two or more deep branches are fused"),
    _steps(
        "skip_width", 16, 64, 8, "channels of the trunk at 8x (64: the packed mosaic as it is)"
    ),
    _choice("skip_block", PLAIN_BLOCKS, "what the trunk is made of"),
    _steps("skip_blocks", 0, 6, 1, "blocks of the trunk"),
    _steps("merge_width", 0, 48, 16, "channels inside the merge (0: one convolution)"),
    _choice("merge_groups", (1, 2, 4, 8), "groups of the merge's first convolution"),
    _choice("merge_shuffle", _SWITCH, "are trunk and deep channels interleaved first?"),
    _steps("expand_kernel", 1, 3, 2, "kernel of the merge's way up, to 2x or to 4x"),
    _steps("fine_width", 0, 64, 8, "channels of a stage at 4x between merge and 2x (0: none)"),
    _choice("fine_block", PLAIN_BLOCKS, "what that stage is made of"),
    _steps("fine_blocks", 0, 4, 1, "its blocks"),
    _steps("fine_kernel", 1, 3, 2, "kernel of its way up to 2x"),
    _choice("head", HEADS, "what the packed mosaic adds at 2x"),
    _steps("head_kernel", 1, 5, 2, "kernel of the head"),
    _steps("head_width", 4, 12, 4, "channels of the head's first convolution"),
    _steps("merge_channels", 4, 12, 4, "channels at 2x that the merge brings to the head"),
)
# Genes that are fields of a branch, and of a genome, as they are (or as true or false).
_BRANCH_FIELDS = ("width", "block", "blocks", "layers", "growth")
_NETWORK_FIELDS = tuple(gene.name for gene in _NETWORK_GENES)


class DesignSpace:
    """All networks that a search may propose; every combination of choices decodes and builds."""

    genes: tuple[Gene, ...] = (
        *(gene for scale in SCALES for gene in _branch_genes(scale)),
        *_NETWORK_GENES,
    )

    def decode(self, params: Mapping[str, Value]) -> Genome:
        """The canonical genome of flat parameters, one value for each gene.

        Raises InputError where a gene is missing, unknown, or its value is not among its choices.
        """
        see = "see python -m nas.describe --space"
        for name in sorted(params.keys() - {gene.name for gene in self.genes}):
            raise InputError(f"design space: unknown gene {name!r}; {see}")
        for gene in self.genes:
            name, choices = gene.name, gene.choices
            if name not in params:
                raise InputError(f"design space: gene {name!r} is missing; give one of {choices}")
            value = params[name]
            if not any(value == choice and type(value) is type(choice) for choice in choices):
                raise InputError(
                    f"design space: {name} must be one of {choices}, but got {value!r}; {see}"
                )
        values: dict[str, Any] = {name: params[name] for name in _NETWORK_FIELDS}
        values["merge_shuffle"] = params["merge_shuffle"] == "on"
        branches = (_decode_branch(s, params) for s in SCALES if params[f"s{s}"] == "on")
        return Genome(branches=tuple(branches), **values)

    def encode(self, genome: Genome) -> dict[str, Value]:
        """Flat parameters that decode to `genome`; InputError where it is outside of the space."""
        params: dict[str, Value] = {gene.name: gene.choices[0] for gene in self.genes}
        params |= {name: value for name, value in _flat(genome).items() if value is not None}
        for gene in self.genes:
            if params[gene.name] not in gene.choices:
                raise InputError(
                    f"design space: {gene.name} must be one of {gene.choices}, but got "
                    f"{params[gene.name]!r}; this genome can be trained but not searched"
                )
        if self.decode(params) != genome:
            raise InputError(
                "design space: this genome must be a point of the space, but no parameters decode "
                "to it; it can be trained but not searched"
            )
        return params

    def sample(self, generator: random.Random) -> dict[str, Value]:
        """Flat parameters, each gene drawn uniformly from its choices."""
        return {
            gene.name: gene.choices[generator.randrange(len(gene.choices))] for gene in self.genes
        }


def _decode_branch(scale: int, params: Mapping[str, Value]) -> Branch:
    s = f"s{scale}_"
    values: dict[str, Any] = {name: params[s + name] for name in _BRANCH_FIELDS}
    shorter = params[s + "first"] == "fewer"
    return Branch(
        scale=scale,
        stem_groups=gcd(int(params[s + "groups"]), scale**2, 2 * values["width"]),
        first_layers=values["layers"] - shorter,
        refine=params[s + "refine"] == "on",
        **values,
    )


def _flat(genome: Genome) -> dict[str, Value | None]:
    params: dict[str, Value | None] = {name: getattr(genome, name) for name in _NETWORK_FIELDS}
    params["merge_shuffle"] = _SWITCH[genome.merge_shuffle]
    for branch in genome.branches:
        scale, first, layers = branch.scale, branch.first_layers, branch.layers
        s = f"s{scale}_"
        if branch.blocks == 1 and not branch.refine and layers is not None:
            # The only block is a first block, which may be one shorter than the choices.
            layers = max(layers, _FEWEST_LAYERS)
        groups = {gcd(g, scale**2, 2 * branch.width): g for g in reversed(_GROUPS)}
        params |= {s + name: getattr(branch, name) for name in _BRANCH_FIELDS}
        params |= {
            f"s{scale}": "on",
            s + "groups": groups.get(branch.stem_groups, branch.stem_groups),
            s + "layers": layers,
            s + "first": None if first is None else "same" if first == layers else "fewer",
            s + "refine": _SWITCH[branch.refine],
        }
    return params
