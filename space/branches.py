"""Deep branches, and the topologies that fuse them at 8x.

A branch packs the mosaic down, works there and is upsampled by a pixel shuffle. Branches run in
parallel and are fused at 8x (concat, sum, dual), or each is upsampled into the next finer one
(cascade).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from space.blocks import BLOCKS
from space.genome import Branch, Genome
from space.layers import DenseChain, convolution, make_block


class DeepBranch(nn.Module):
    """One branch: p2 (b 4 H/2 W/2) -> features at its scale (`at_scale`) -> `upsample`.

    `up_scale` and `up_width` are of what it is upsampled to: 8x, or the next finer branch.
    """

    def __init__(self, branch: Branch, *, up_scale: int, up_width: int) -> None:
        super().__init__()
        ratio = branch.scale // up_scale
        stem_width = 2 * branch.width
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(branch.scale // 2),
            convolution(branch.scale**2, stem_width, 3, groups=branch.stem_groups),
            convolution(stem_width, branch.width, 3),
        )
        self.chain = _chain(branch)
        up = [convolution(branch.width // ratio**2, up_width, 3)]
        self.up = nn.Sequential(*([nn.PixelShuffle(ratio)] if ratio > 1 else []), *up)
        self.refine = _refine(branch, up_width)

    def at_scale(self, p2: Tensor, injected: Tensor | None = None) -> Tensor:
        x = self.stem(p2)
        if injected is not None:
            x = x + injected
        out: Tensor = self.chain(x)
        return out

    def upsample(self, features: Tensor) -> Tensor:
        out: Tensor = self.up(features)
        return out


def _chain(branch: Branch) -> nn.Module:
    if branch.blocks == 0:
        return nn.Identity()
    layers = [branch.first_layers, *[branch.layers] * (branch.blocks - 1)]
    kind, width = branch.block or "", branch.width
    blocks = [make_block(kind, width, layers=n, growth=branch.growth) for n in layers]
    return DenseChain(blocks, width) if BLOCKS[kind].is_dense else nn.Sequential(*blocks)


def _refine(branch: Branch, width: int) -> nn.Module:
    if not branch.refine:
        return nn.Identity()
    return make_block(branch.block or "", width, layers=branch.layers, growth=branch.growth)


class Parallel(nn.Module):
    """Branches in parallel, fused at 8x by concatenation, by sum, or by M2's dual fusion.

    p2 (b 4 H/2 W/2) -> b deep_width H/8 W/8. One branch alone needs no fusion.
    """

    def __init__(self, genome: Genome) -> None:
        super().__init__()
        width = genome.deep_width
        assert width is not None
        self.kind = genome.fusion
        self.branches = nn.ModuleList(
            DeepBranch(b, up_scale=8, up_width=width) for b in genome.branches
        )
        together = len(genome.branches) * width
        # "meet" and its like are names in weights files, so they stay.
        if self.kind in ("concat", "dual"):
            self.meet = convolution(together, width, 3)
        if self.kind == "dual":
            self.meet_refined = convolution(together, width, 3)
            self.meet_both = convolution(2 * width, width, 3)

    def forward(self, p2: Tensor) -> Tensor:
        branches = [branch for branch in self.branches if isinstance(branch, DeepBranch)]
        upsampled = [branch.upsample(branch.at_scale(p2)) for branch in branches]
        refined = [branch.refine(up) for branch, up in zip(branches, upsampled, strict=True)]
        return self.fuse(upsampled, refined)

    def fuse(self, upsampled: list[Tensor], refined: list[Tensor]) -> Tensor:
        """The branches as one: each upsampled, and the same refined, all b deep_width H/8 W/8."""
        if self.kind == "dual":
            both = [
                self.meet_refined(torch.cat(refined, dim=1)),
                self.meet(torch.cat(upsampled, dim=1)),
            ]
            out: Tensor = self.meet_both(torch.cat(both, dim=1))
            return out
        if self.kind == "concat":
            out = self.meet(torch.cat(refined, dim=1))
            return out
        out = refined[0]
        for other in refined[1:]:
            out = out + other
        return out


class Cascade(nn.Module):
    """From coarse to fine: each branch is upsampled, refined, and added to the next finer stem.

    p2 (b 4 H/2 W/2) -> b deep_width H/8 W/8.
    """

    def __init__(self, genome: Genome) -> None:
        super().__init__()
        assert genome.deep_width is not None
        branches: list[nn.Module] = []
        scale, width = 8, genome.deep_width
        for branch in genome.branches:  # from fine to coarse
            branches.append(DeepBranch(branch, up_scale=scale, up_width=width))
            scale, width = branch.scale, branch.width
        self.branches = nn.ModuleList(branches)

    def forward(self, p2: Tensor) -> Tensor:
        carried: Tensor | None = None
        for branch in reversed(self.branches):
            assert isinstance(branch, DeepBranch)
            carried = branch.refine(branch.upsample(branch.at_scale(p2, carried)))
        assert carried is not None
        return carried


def make_deep(genome: Genome) -> nn.Module | None:
    """The deep part of a genome's network, or None where it has no deep branch."""
    if not genome.branches:
        return None
    return Cascade(genome) if genome.fusion == "cascade" else Parallel(genome)
