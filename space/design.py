"""The design space: every gene with its choices, and the two-way road between flat parameters and
genomes.

A sampler sees flat parameters (whole numbers and words only). `decode` turns any combination of
choices into a canonical genome that builds; `encode` is its way back, with the first choice for
genes that don't act.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import gcd

from space.errors import InputError
from space.genome import BLOCKS, FUSIONS, HEADS, SCALES, Branch, Genome

Value = int | str


@dataclass(frozen=True, kw_only=True)
class Gene:
    """One parameter: `choices` are all its values; `ordered` ones are evenly spaced whole numbers."""

    name: str
    choices: tuple[int, ...] | tuple[str, ...]
    ordered: bool
    help: str


def _steps(name: str, low: int, high: int, step: int, help: str) -> Gene:
    return Gene(name=name, choices=tuple(range(low, high + 1, step)), ordered=True, help=help)


def _words(name: str, choices: tuple[str, ...], help: str) -> Gene:
    return Gene(name=name, choices=choices, ordered=False, help=help)


# A pixel shuffle from 64x to 8x divides the channels by 64: that branch is 64 wide or 128, the
# others 16 to 64.
_WIDTHS = {8: (16, 64, 16), 16: (16, 64, 16), 32: (16, 64, 16), 64: (64, 128, 64)}


def _branch_genes(scale: int) -> tuple[Gene, ...]:
    s = f"s{scale}_"
    return (
        _words(f"s{scale}", ("off", "on"), f"is there a deep branch at {scale}x?"),
        _steps(s + "width", *_WIDTHS[scale], "channels of its features"),
        Gene(
            name=s + "groups",
            choices=(16, 64, 128),
            ordered=False,
            help="groups of its stem (the largest common divisor with the stem's channels acts)",
        ),
        _words(s + "block", BLOCKS, "what its chain is made of"),
        _steps(s + "blocks", 0, 4, 1, "blocks in its chain"),
        _steps(s + "layers", 3, 6, 1, "convolutions in a dense block"),
        _words(
            s + "first", ("same", "fewer"), "is the first dense block one convolution shorter?"
        ),
        _steps(s + "growth", 8, 32, 8, "channels that each of them adds"),
        _words(s + "refine", ("off", "on"), "one more block after the branch is brought up?"),
    )


_GENES = (
    *(gene for scale in SCALES for gene in _branch_genes(scale)),
    _steps("deep_width", 16, 64, 16, "channels in which the deep branches meet at 8x"),
    _words("fusion", FUSIONS, "how two or more deep branches meet"),
    _steps(
        "skip_width", 16, 64, 8, "channels of the trunk at 8x (64: the packed mosaic as it is)"
    ),
    _words("skip_block", ("residual", "rep"), "what the trunk is made of"),
    _steps("skip_blocks", 0, 6, 1, "blocks of the trunk"),
    _steps("merge_width", 0, 48, 16, "channels inside the merge (0: one convolution)"),
    Gene(
        name="merge_groups",
        choices=(1, 2, 4, 8),
        ordered=False,
        help="groups of the merge's first convolution",
    ),
    _words("merge_shuffle", ("off", "on"), "are trunk and deep channels interleaved first?"),
    _steps(
        "expand_kernel",
        1,
        3,
        2,
        "kernel of the convolution that brings the merge up, to 2x or to 4x",
    ),
    _steps(
        "fine_width", 0, 64, 8, "channels of a stage at 4x between merge and 2x (0: there is none)"
    ),
    _words("fine_block", ("residual", "rep"), "what that stage is made of"),
    _steps("fine_blocks", 0, 4, 1, "its blocks"),
    _steps("fine_kernel", 1, 3, 2, "kernel of the convolution that brings it up to 2x"),
    _words("head", HEADS, "what the packed mosaic adds at 2x"),
    _steps("head_kernel", 1, 5, 2, "kernel of the head"),
    _steps("head_width", 4, 12, 4, "channels of the head's first convolution"),
    _steps("merge_channels", 4, 12, 4, "channels at 2x that the merge brings to the head"),
)


class DesignSpace:
    """All networks that a search may propose; every combination of its choices decodes and builds."""

    genes: tuple[Gene, ...] = _GENES

    def decode(self, params: Mapping[str, Value]) -> Genome:
        """The canonical genome of flat parameters, one value for each gene.

        Raises InputError where a gene is missing, unknown, or its value is not among its choices.
        """
        known = {gene.name for gene in self.genes}
        for name in params:
            if name not in known:
                raise InputError(
                    f"design space: unknown gene {name!r}; see python -m nas.describe --space"
                )
        for gene in self.genes:
            if gene.name not in params:
                raise InputError(
                    f"design space: gene {gene.name!r} is missing; give one of {gene.choices}"
                )
            value = params[gene.name]
            if not any(value == choice and type(value) is type(choice) for choice in gene.choices):
                raise InputError(
                    f"design space: {gene.name} must be one of {gene.choices}, but got {value!r}; "
                    "see python -m nas.describe --space"
                )
        return _Decoder(params).genome()

    def encode(self, genome: Genome) -> dict[str, Value]:
        """Flat parameters that decode to `genome`; InputError where it lies outside of the space."""
        params: dict[str, Value] = {gene.name: gene.choices[0] for gene in self.genes}
        for name, value in _flat(genome).items():
            if value is not None:
                params[name] = value
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
        params: dict[str, Value] = {}
        for gene in self.genes:
            params[gene.name] = gene.choices[generator.randrange(len(gene.choices))]
        return params


class _Decoder:
    def __init__(self, params: Mapping[str, Value]) -> None:
        self.params = params

    def number(self, name: str) -> int:
        return int(self.params[name])

    def word(self, name: str) -> str:
        return str(self.params[name])

    def branch(self, scale: int) -> Branch:
        s = f"s{scale}_"
        width, layers = self.number(s + "width"), self.number(s + "layers")
        return Branch(
            scale=scale,
            width=width,
            stem_groups=gcd(self.number(s + "groups"), scale**2, 2 * width),
            block=self.word(s + "block"),
            blocks=self.number(s + "blocks"),
            layers=layers,
            first_layers=layers - 1 if self.word(s + "first") == "fewer" else layers,
            growth=self.number(s + "growth"),
            refine=self.word(s + "refine") == "on",
        )

    def genome(self) -> Genome:
        branches = tuple(self.branch(scale) for scale in SCALES if self.word(f"s{scale}") == "on")
        return Genome(
            branches=branches,
            deep_width=self.number("deep_width"),
            fusion=self.word("fusion"),
            skip_width=self.number("skip_width"),
            skip_block=self.word("skip_block"),
            skip_blocks=self.number("skip_blocks"),
            merge_width=self.number("merge_width"),
            merge_groups=self.number("merge_groups"),
            merge_shuffle=self.word("merge_shuffle") == "on",
            expand_kernel=self.number("expand_kernel"),
            fine_width=self.number("fine_width"),
            fine_block=self.word("fine_block"),
            fine_blocks=self.number("fine_blocks"),
            fine_kernel=self.number("fine_kernel"),
            head=self.word("head"),
            head_kernel=self.number("head_kernel"),
            head_width=self.number("head_width"),
            merge_channels=self.number("merge_channels"),
        )


def _flat(genome: Genome) -> dict[str, Value | None]:
    params: dict[str, Value | None] = {}
    for branch in genome.branches:
        s = f"s{branch.scale}_"
        first, layers = branch.first_layers, branch.layers
        if branch.blocks == 1 and not branch.refine and layers is not None and layers < 3:
            # the only block is a first block, and first blocks may be one shorter than the choices
            layers = 3
        params |= {
            f"s{branch.scale}": "on",
            s + "width": branch.width,
            s + "groups": next(
                (
                    g
                    for g in (16, 64, 128)
                    if gcd(g, branch.scale**2, 2 * branch.width) == branch.stem_groups
                ),
                branch.stem_groups,
            ),
            s + "block": branch.block,
            s + "blocks": branch.blocks,
            s + "layers": layers,
            s + "first": None if first is None else "same" if first == layers else "fewer",
            s + "growth": branch.growth,
            s + "refine": "on" if branch.refine else "off",
        }
    params |= {
        "deep_width": genome.deep_width,
        "fusion": genome.fusion,
        "skip_width": genome.skip_width,
        "skip_block": genome.skip_block,
        "skip_blocks": genome.skip_blocks,
        "merge_width": genome.merge_width,
        "merge_groups": genome.merge_groups,
        "merge_shuffle": "on" if genome.merge_shuffle else "off",
        "expand_kernel": genome.expand_kernel,
        "fine_width": genome.fine_width,
        "fine_block": genome.fine_block,
        "fine_blocks": genome.fine_blocks,
        "fine_kernel": genome.fine_kernel,
        "head": genome.head,
        "head_kernel": genome.head_kernel,
        "head_width": genome.head_width,
        "merge_channels": genome.merge_channels,
    }
    return params
