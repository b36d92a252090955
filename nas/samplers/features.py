"""What is known of a network without training it: the work and the shape of each of its parts, as
numbers that a model can learn from.

Multiply-accumulates are exact (the formula of every convolution, as space.count_cost counts them)
and cost no tracing, so that a sampler can look at thousands of networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from space import Branch, Genome
from space.genome import PACKED_CHANNELS, RGB_CHANNELS_2X, SCALES

# (part, multiply-accumulates per mosaic pixel)
Work = tuple[str, float]


def _conv(inputs: int, outputs: int, kernel: int, scale: int, groups: int = 1) -> float:
    """Multiply-accumulates of one convolution per pixel of the mosaic."""
    return inputs * outputs * kernel**2 / groups / scale**2


def _block(
    kind: str | None, channels: int, layers: int | None, growth: int | None, scale: int
) -> float:
    if kind == "rdb":
        assert layers is not None and growth is not None
        dense = sum(_conv(channels + k * growth, growth, 3, scale) for k in range(layers))
        return dense + _conv(channels + layers * growth, channels, 1, scale)
    return (2 if kind == "residual" else 1) * _conv(channels, channels, 3, scale)


def _branch(branch: Branch, up_scale: int, up_width: int) -> Iterator[Work]:
    s, w = branch.scale, branch.width
    yield f"stem{s}", _conv(s * s, 2 * w, 3, s, branch.stem_groups) + _conv(2 * w, w, 3, s)
    layers = [branch.first_layers, *[branch.layers] * (branch.blocks - 1)] if branch.blocks else []
    chain = sum(_block(branch.block, w, n, branch.growth, s) for n in layers)
    if layers and branch.block == "rdb":
        chain += _conv(len(layers) * w, w, 1, s)
    yield f"chain{s}", chain
    yield f"up{s}", _conv(w // (s // up_scale) ** 2, up_width, 3, up_scale)
    refine = (
        _block(branch.block, up_width, branch.layers, branch.growth, up_scale)
        if branch.refine
        else 0.0
    )
    yield f"refine{s}", refine


def works(genome: Genome) -> dict[str, float]:
    """Multiply-accumulates per mosaic pixel of every part that the network has, named as in
    space.Cost.parts.
    """
    w, deep = genome.skip_width, genome.deep_width or 0
    entry = 0.0 if w == PACKED_CHANNELS else _conv(PACKED_CHANNELS, w, 3, 8)
    found = {"skip": entry + genome.skip_blocks * _block(genome.skip_block, w, None, None, 8)}
    scale, width = 8, deep
    for branch in genome.branches:
        found |= dict(_branch(branch, scale, width))
        if genome.fusion == "cascade":
            scale, width = branch.scale, branch.width
    together = len(genome.branches) * deep
    found["meet"] = {"concat": 1, "dual": 2}.get(genome.fusion or "", 0) * _conv(
        together, deep, 3, 8
    )
    if genome.fusion == "dual":
        found["meet"] += _conv(2 * deep, deep, 3, 8)
    inputs = genome.merge_inputs
    outputs = 16 * (RGB_CHANNELS_2X if genome.merge_channels is None else genome.merge_channels)
    found["merge"] = 0.0
    if genome.merge_width:
        found["merge"] = _conv(inputs, genome.merge_width, 3, 8, genome.merge_groups or 1)
        inputs = genome.merge_width
    fine = genome.fine_width
    found["merge"] += _conv(inputs, 4 * fine if fine else outputs, genome.expand_kernel, 8)
    found["fine"] = found["head"] = 0.0
    if fine:
        blocks = (genome.fine_blocks or 0) * _block(genome.fine_block, fine, None, None, 4)
        found["fine"] = (
            _conv(16, fine, 3, 4) + blocks + _conv(fine, outputs // 4, genome.fine_kernel or 1, 4)
        )
    if genome.head == "add":
        found["head"] = _conv(4, RGB_CHANNELS_2X, genome.head_kernel or 1, 2)
    elif genome.head == "concat":
        k, hidden = genome.head_kernel or 1, genome.head_width or 1
        found["head"] = _conv(4, hidden, k, 2) + _conv(
            hidden + (genome.merge_channels or 0), RGB_CHANNELS_2X, k, 2
        )
    return {part: work for part, work in found.items() if work}


def numbers(genome: Genome) -> list[float]:
    """24 numbers of the network: log2 of its works (all, by kind of part), which branches there
    are, widths, depths, the head.

    Few on purpose: over the benchmark's table a model that had seen 12 of 97 trained networks
    explained a third of the others' PSNR by 21 of these (no network there has a stage at 4x), and
    a sixth by all 49 genes of then or by 52 such numbers.
    """
    found = works(genome)
    told = [math.log2(sum(found.values()))]
    for kind in ("stem", "chain", "up", "refine"):
        told.append(
            math.log2(1 + sum(work for part, work in found.items() if part.startswith(kind)))
        )
    told += [
        math.log2(1 + found.get(part, 0.0)) for part in ("skip", "meet", "merge", "head", "fine")
    ]
    told += [float(any(branch.scale == scale for branch in genome.branches)) for scale in SCALES]
    told += [
        math.log2(genome.deep_width or 8),
        math.log2(genome.skip_width),
        float(genome.skip_blocks),
    ]
    told += [math.log2(genome.fine_width or 4), float(genome.fine_blocks or 0)]
    told += [float(len(genome.branches)), float(sum(branch.blocks for branch in genome.branches))]
    told += [
        float(genome.head == "none"),
        float(genome.head == "add"),
        float(genome.expand_kernel),
    ]
    return told
