"""A network as 24 numbers that a model can learn from, without building or training it.

The multiply-accumulates of its parts are exact and cost no tracing (space.parts), so that a
sampler can look at thousands of networks.
"""

from __future__ import annotations

from math import log2

from space import Genome, network_parts
from space.genome import SCALES

# The first four are parts of deep branches, whose work counts together.
_PARTS = ("stem", "chain", "up", "refine", "trunk", "fuse", "merge", "head", "fine")


def numbers(genome: Genome) -> list[float]:
    """24 numbers: log2 of MACs for each pixel (all, by kind of part), branches, widths, depths.

    Few on purpose: over the benchmark's table a model that had seen 12 of 97 trained networks
    explained a third of the others' PSNR by 21 of these (no network there has a stage at 4x), and
    a sixth by all 49 genes of then or by 52 such numbers.
    """
    macs = dict.fromkeys(_PARTS, 0.0)
    for part in network_parts(genome):
        name = part.name.rstrip("0123456789")
        macs[name] = macs.get(name, 0.0) + part.macs_per_pixel
    scales = [branch.scale for branch in genome.branches]
    return [
        log2(sum(macs.values())),
        *(log2(1 + macs[name]) for name in _PARTS),
        *(float(scale in scales) for scale in SCALES),
        log2(genome.deep_width or 8),
        log2(genome.skip_width),
        float(genome.skip_blocks),
        log2(genome.fine_width or 4),
        float(genome.fine_blocks or 0),
        float(len(scales)),
        float(sum(branch.blocks for branch in genome.branches)),
        float(genome.head == "none"),
        float(genome.head == "add"),
        float(genome.expand_kernel),
    ]
