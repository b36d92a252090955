"""Deep branches, and the topologies that fuse them at 8x.

A branch packs the mosaic down, works there and is upsampled by a pixel shuffle. Branches run in
parallel and are fused at 8x (concat, sum, dual), or each is upsampled into the next finer one
(cascade).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from space.blocks import Convolution
from space.genome import Genome
from space.layers import DenseChain, build, build_layers
from space.parts import Part


class DeepBranch(nn.Module):
    """One branch: p2 (b 4 H/2 W/2) -> features at its scale (`at_scale`) -> `upsample`."""

    def __init__(self, stem: Part, up: Part, chain: Part | None, refine: Part | None) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.PixelUnshuffle(stem.scale // 2), *build_layers(stem))
        self.chain: nn.Module = nn.Identity()
        if chain:
            is_dense = isinstance(chain.layers[-1], Convolution)
            self.chain = (DenseChain if is_dense else nn.Sequential)(*build_layers(chain))
        ratio = stem.scale // up.scale
        shuffle = [nn.PixelShuffle(ratio)] if ratio > 1 else []
        self.up = nn.Sequential(*shuffle, *build_layers(up))
        self.refine = build(refine.layers[0]) if refine else nn.Identity()

    def at_scale(self, p2: Tensor, injected: Tensor | None = None) -> Tensor:
        x = self.stem(p2)
        if injected is not None:
            x = x + injected
        out: Tensor = self.chain(x)
        return out

    def upsample(self, features: Tensor) -> Tensor:
        out: Tensor = self.up(features)
        return out


def _branches(genome: Genome, parts: Mapping[str, Part]) -> nn.ModuleList:
    return nn.ModuleList(
        DeepBranch(
            parts[f"stem{s}"], parts[f"up{s}"], parts.get(f"chain{s}"), parts.get(f"refine{s}")
        )
        for s in (branch.scale for branch in genome.branches)
    )


class Parallel(nn.Module):
    """Branches in parallel, fused at 8x by concatenation, by sum, or by M2's dual fusion.

    p2 (b 4 H/2 W/2) -> b deep_width H/8 W/8. One branch alone needs no fusion.
    """

    # Convolutions that fuse, by their names in weights files.
    meet: nn.Module
    meet_refined: nn.Module
    meet_both: nn.Module

    def __init__(self, genome: Genome, parts: Mapping[str, Part]) -> None:
        super().__init__()
        self.kind = genome.fusion
        self.branches = _branches(genome, parts)
        fusion = build_layers(parts["fuse"]) if self.kind else []
        for name, conv in zip(("meet", "meet_refined", "meet_both"), fusion, strict=False):
            setattr(self, name, conv)

    def forward(self, p2: Tensor) -> Tensor:
        branches = [branch for branch in self.branches if isinstance(branch, DeepBranch)]
        upsampled = [branch.upsample(branch.at_scale(p2)) for branch in branches]
        refined = [branch.refine(up) for branch, up in zip(branches, upsampled, strict=True)]
        return self.fuse(upsampled, refined)

    def fuse(self, upsampled: list[Tensor], refined: list[Tensor]) -> Tensor:
        """The branches as one: each upsampled, and the same refined, all b deep_width H/8 W/8."""
        if self.kind == "dual":
            of_refined = self.meet_refined(torch.cat(refined, dim=1))
            both = [of_refined, self.meet(torch.cat(upsampled, dim=1))]
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

    def __init__(self, genome: Genome, parts: Mapping[str, Part]) -> None:
        super().__init__()
        self.branches = _branches(genome, parts)

    def forward(self, p2: Tensor) -> Tensor:
        carried: Tensor | None = None
        for branch in reversed(self.branches):
            assert isinstance(branch, DeepBranch)
            carried = branch.refine(branch.upsample(branch.at_scale(p2, carried)))
        assert carried is not None
        return carried


def make_deep(genome: Genome, parts: Mapping[str, Part]) -> nn.Module | None:
    """The deep part of a genome's network, or None where it has no deep branch."""
    if not genome.branches:
        return None
    return (Cascade if genome.fusion == "cascade" else Parallel)(genome, parts)
