"""The parts of a genome's network: scale, channels, layers and words, without torch.

The network itself, its counts, drawing, table, notes and the sampler's features are made from this
one description. The counts are exact: tests hold them against fvcore's trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from space.blocks import Block, Convolution, count_blocks, make_blocks
from space.genome import PACKED_CHANNELS, RGB_CHANNELS_2X, Branch, Genome


@dataclass(frozen=True)
class Part:
    """A part of a network, from the mosaic to the picture.

    `scale` is where it computes and `channels` those of each of its features there (none: it is
    not there, or has none of its own); `text` says what it is, `captions` the same in two short
    lines; `layers` are what it computes, in order; `scales` says from where to where it leads;
    `branch` is the scale of its deep branch.
    """

    name: str
    scale: int
    channels: tuple[int, ...]
    text: str
    captions: tuple[str, ...] = ()
    layers: tuple[Convolution | Block, ...] = ()
    scales: str = ""
    branch: int | None = None

    @property
    def convolutions(self) -> list[Convolution]:
        """Those of its layers, in order."""
        groups = (one.convolutions if isinstance(one, Block) else (one,) for one in self.layers)
        return [conv for group in groups for conv in group]

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulates for each pixel of the mosaic, as deployed."""
        deployed = (conv for conv in self.convolutions if not conv.trained_only)
        return sum(conv.weights for conv in deployed) / self.scale**2


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a network costs on paper.

    `parameters` as trained (weight norm's g and v both counted, as published),
    `deployed_parameters` after folding, `macs` multiply-accumulates for one mosaic of height x
    width, and `parts` those of each part that has any, by `Part.name`; they sum to `macs`.
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
    """The cost of one mosaic of height x width pixels (rounded up to the network's multiple)."""
    multiple = genome.size_multiple
    height, width = (-(-size // multiple) * multiple for size in (height, width))
    parts = [part for part in network_parts(genome) if part.convolutions]
    convolutions = [conv for part in parts for conv in part.convolutions]
    deployed = [conv for conv in convolutions if not conv.trained_only]
    macs = {part.name: int(part.macs_per_pixel * height * width) for part in parts}
    return Cost(
        parameters=sum(conv.deployed_parameters + conv.outputs for conv in convolutions),
        deployed_parameters=sum(conv.deployed_parameters for conv in deployed),
        macs=sum(macs.values()),
        parts=macs,
        height=height,
        width=width,
    )


def network_parts(genome: Genome) -> list[Part]:
    """The parts of `genome`'s network, from the mosaic to the picture."""
    mosaic = Part("mosaic", 1, (1,), "one Bayer channel, amplified", ("mosaic", "1 channel"))
    packed = Part("packed", 2, (4,), "4 channels, for every other part", ("packed", "4 channels"))
    parts = [mosaic, packed, _trunk(genome)]
    scale, width = 8, genome.deep_width or 0
    for branch in genome.branches:
        parts += _branch(branch, scale, width)
        if genome.fusion == "cascade":
            scale, width = branch.scale, branch.width
    if genome.fusion:
        parts.append(_fuse(genome))
    parts.append(_merge(genome))
    if genome.fine_width:
        parts.append(_fine(genome, genome.fine_width))
    text = "shuffle 2 -> sRGB, clamped to [0, 1]"
    return [*parts, _head(genome), Part("picture", 1, (3,), text, ("picture", "3 channels"))]


def _square(kernel: int | None) -> str:
    return f"{kernel}x{kernel}"


def _trunk(genome: Genome) -> Part:
    width, count = genome.skip_width, genome.skip_blocks
    entry = [] if width == PACKED_CHANNELS else [Convolution(PACKED_CHANNELS, width, 3)]
    blocks = count_blocks(count, genome.skip_block)
    before = f"3x3 {PACKED_CHANNELS} -> {width}, " if entry else ""
    caption = blocks if count else "3x3" if entry else "as it is"
    return Part(
        "trunk",
        8,
        (width,) * max(len(entry) + count, 1),
        f"{before}{blocks}, {width} channels",
        (caption, f"{width} channels"),
        (*entry, *make_blocks(genome.skip_block, width, count)),
    )


def _branch(branch: Branch, goal: int, up_width: int) -> Iterator[Part]:
    """Stem, chain, way up to the scale `goal`, refinement there."""
    s, width, stem_groups = branch.scale, branch.width, branch.stem_groups
    yield Part(
        f"stem{s}",
        s,
        (2 * width, width),
        f"{s**2} -> {2 * width} (groups {stem_groups}) -> {width}, each 3x3",
        ("stem", f"{width} ch., {f'groups {stem_groups}' if stem_groups > 1 else 'no groups'}"),
        (Convolution(s**2, 2 * width, 3, stem_groups), Convolution(2 * width, width, 3)),
        branch=s,
    )
    if branch.blocks:
        yield _chain(branch)
    ratio = s // goal
    yield Part(
        f"up{s}",
        goal,
        (up_width,),
        f"shuffle {ratio}, 3x3, upsampled to {goal}x" if ratio > 1 else "3x3",
        (f"up to {goal}x" if ratio > 1 else f"at {goal}x", f"{up_width} channels"),
        (Convolution(width // ratio**2, up_width, 3),),
        f"{s}x-{goal}x" if ratio > 1 else "",
        branch=s,
    )
    if branch.refine:
        text, layers, growth = count_blocks(1, branch.block), branch.layers, branch.growth
        block = make_blocks(branch.block, up_width, 1, layers=layers, growth=growth)
        yield Part(f"refine{s}", goal, (up_width,), text, ("refine", text), tuple(block), branch=s)


def _chain(branch: Branch) -> Part:
    count, width = branch.blocks, branch.width
    first, layers, growth = branch.first_layers, branch.layers, branch.growth
    blocks = make_blocks(
        branch.block, width, count, layers=layers, first_layers=first, growth=growth
    )
    text, caption, details = count_blocks(count, branch.block), f"{width} channels", ""
    fusion: tuple[Convolution, ...] = ()
    if layers:  # a dense kind
        shorter = first != layers
        caption = f"{f'{first}, then ' if shorter else ''}{layers} layers, +{growth}"
        but = f", the first {first}" if shorter else ""
        details = f" of {layers} layers{but}, growth {growth}"
        fusion = (Convolution(count * width, width, 1, bias=False),)
    return Part(
        f"chain{branch.scale}",
        branch.scale,
        (width,) * count,
        text + details,
        (text, caption),
        (*blocks, *fusion),
        branch=branch.scale,
    )


def _fuse(genome: Genome) -> Part:
    kind, width = genome.fusion or "", genome.deep_width or 0
    one, together = f"{width} channels", Convolution(len(genome.branches) * width, width, 3)
    both = (together, together, Convolution(2 * width, width, 3))
    channels, how, captions, layers = {
        "concat": ((width,), f"one 3x3 -> {width}", ("concat, 3x3", one), (together,)),
        "sum": ((width,), "branches are added", ("sum",), ()),
        "dual": (
            (width,) * 3,
            f"refined and unrefined branches, each 3x3, then both 3x3 -> {width}",
            ("dual", one),
            both,
        ),
        "cascade": ((), "each branch is added to the next finer one's stem", ("cascade",), ()),
    }[kind]
    return Part("fuse", 8, channels, f"{kind}: {how}", captions, layers)


def _merge(genome: Genome) -> Part:
    width, groups, kernel = genome.merge_width, genome.merge_groups, _square(genome.expand_kernel)
    goal, channels = (4, genome.fine_width) if genome.fine_width else (2, genome.channels_2x)
    ratio = 8 // goal
    outputs = channels * ratio**2
    inner = [Convolution(genome.merge_inputs, width, 3, groups or 1)] if width else []
    shuffle = "channel shuffle, " if genome.merge_shuffle else ""
    first = f"3x3 -> {width} (groups {groups}), " if inner else ""
    return Part(
        "merge",
        8,
        (*([width] if inner else []), outputs),
        f"{shuffle}{first}{kernel} -> {outputs}, shuffle {ratio} -> {channels} channels",
        ("merge", f"{'3x3, ' if inner else ''}{kernel}, up to {goal}x"),
        (*inner, Convolution(width or genome.merge_inputs, outputs, genome.expand_kernel)),
        f"8x-{goal}x",
    )


def _fine(genome: Genome, width: int) -> Part:
    count, kernel, outputs = genome.fine_blocks or 0, genome.fine_kernel or 1, genome.channels_2x
    blocks = count_blocks(count, genome.fine_block)
    up = f"{_square(kernel)} -> {4 * outputs}, shuffle 2 -> {outputs} channels"
    return Part(
        "fine",
        4,
        (*(width,) * (1 + count), 4 * outputs),
        f"a 3x3 of the mosaic at 4x added, {f'{blocks}, ' if count else ''}{up}",
        (blocks, f"{width} channels, {_square(kernel)}, up to 2x"),
        (
            Convolution(16, width, 3),
            *make_blocks(genome.fine_block, width, count),
            Convolution(width, 4 * outputs, kernel),
        ),
        "4x-2x",
    )


def _head(genome: Genome) -> Part:
    if genome.head == "none":
        return Part("head", 2, (), "none")
    kernel, k, rgb = genome.head_kernel or 1, _square(genome.head_kernel), RGB_CHANNELS_2X
    if genome.head == "add":
        text, conv = f"{k} of the packed mosaic, added", Convolution(4, rgb, kernel)
        return Part("head", 2, (rgb,), text, ("head", f"{k}, added"), (conv,))
    width = genome.head_width or 0
    return Part(
        "head",
        2,
        (width, rgb),
        f"{k} 4 -> {width}, concatenated with the merge, {k} -> {rgb}",
        ("head", f"{k}, concat, {k}"),
        (
            Convolution(4, width, kernel),
            Convolution(width + (genome.merge_channels or 0), rgb, kernel),
        ),
    )
