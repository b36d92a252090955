"""From a genome to its network: trunk at 8x, deep branches, merge, stage at 4x, head."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from space.branches import make_deep
from space.errors import InputError
from space.genome import Genome
from space.layers import SLOPE, ChannelShuffle, Foldable, build_layers, plain_convolution
from space.parts import Part, network_parts


class DarkUNet(nn.Module):
    """The network of a genome: an amplified mosaic, b 1 H W in [0, 1] -> sRGB, b 3 H W.

    H and W must be multiples of `size_multiple`; InputError names the next that are. The output is
    clamped to [0, 1] in eval mode only, so that a saturated pixel keeps its gradient in training.
    Source of the baselines' parts: Lamba and Mitra, CVPR 2021, section 3.
    """

    def __init__(self, genome: Genome) -> None:
        super().__init__()
        self.genome = genome
        self.size_multiple = genome.size_multiple
        parts = {part.name: part for part in network_parts(genome)}
        before_head = [nn.LeakyReLU(SLOPE)] if genome.head == "concat" else []
        self.skip = nn.Sequential(*build_layers(parts["trunk"]))  # weights files name it so
        self.deep = make_deep(genome, parts)
        shuffle = [ChannelShuffle()] if genome.merge_shuffle else []
        # The stage at 4x has an activation of its own, after the sum with its own features.
        up = [nn.PixelShuffle(2)] if "fine" in parts else [*before_head, nn.PixelShuffle(4)]
        self.merge = nn.Sequential(*shuffle, *build_layers(parts["merge"]), *up)
        self.fine = FineStage(parts["fine"], before_head) if "fine" in parts else None
        self.head = HEADS[genome.head](*build_layers(parts["head"]))

    def forward(self, mosaic: Tensor) -> Tensor:
        if not torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            self._check(mosaic)
        p2 = functional.pixel_unshuffle(mosaic, 2)
        features = self.skip(functional.pixel_unshuffle(p2, 4))
        if self.deep is not None:
            features = torch.cat([features, self.deep(p2)], dim=1)
        merged = self.merge(features)
        if self.fine is not None:
            merged = self.fine(p2, merged)
        rgb: Tensor = functional.pixel_shuffle(self.head(p2, merged), 2)
        return rgb if self.training else rgb.clamp(0, 1)

    def _check(self, mosaic: Tensor) -> None:
        multiple = self.size_multiple
        if mosaic.ndim != 4 or mosaic.shape[1] != 1:
            raise InputError(
                f"a mosaic must be b 1 H W, but got shape {tuple(mosaic.shape)}; "
                "give one Bayer channel"
            )
        height, width = mosaic.shape[2:]
        if height % multiple or width % multiple or not height or not width:
            rows, columns = (-(-max(size, 1) // multiple) * multiple for size in (height, width))
            raise InputError(
                f"height and width must be multiples of {multiple} for this network, but got "
                f"{height} x {width}; the next that are: {rows} x {columns}"
            )


class FineStage(nn.Module):
    """A stage at 4x: p2 (b 4 h w), merged (b fine_width h/2 w/2) -> b c h w, c as the head wants.

    A 3x3 of the mosaic packed at 4x is added to the upsampled merge, a LeakyReLU and the blocks
    follow, then one convolution and a pixel shuffle to 2x. Source: the decoder of a U-Net
    (Ronneberger et al., MICCAI 2015, section 2), its up-convolution a pixel shuffle.
    """

    def __init__(self, part: Part, before_head: Sequence[nn.Module]) -> None:
        super().__init__()
        self.entry, *blocks, out = build_layers(part)
        self.activation = nn.LeakyReLU(SLOPE)
        self.blocks = nn.Sequential(*blocks)
        self.up = nn.Sequential(out, *before_head, nn.PixelShuffle(2))

    def forward(self, p2: Tensor, merged: Tensor) -> Tensor:
        features = self.activation(self.entry(functional.pixel_unshuffle(p2, 2)) + merged)
        up: Tensor = self.up(self.blocks(features))
        return up


class NoHead(nn.Module):
    """The merge is the output: p2 (b 4 h w), merged (b 12 h w) -> b 12 h w."""

    def forward(self, p2: Tensor, merged: Tensor) -> Tensor:
        return merged


class AddHead(nn.Module):
    """A convolution of the packed mosaic is added to the merge: b 4 h w, b 12 h w -> b 12 h w."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, p2: Tensor, merged: Tensor) -> Tensor:
        out: Tensor = self.conv(p2) + merged
        return out


class ConcatHead(nn.Module):
    """The published head: a convolution of the packed mosaic, a concatenation, one more."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv1, conv2

    def forward(self, p2: Tensor, merged: Tensor) -> Tensor:
        out: Tensor = self.conv2(torch.cat([self.conv1(p2), merged], dim=1))
        return out


HEADS: dict[str, type[nn.Module]] = {"none": NoHead, "add": AddHead, "concat": ConcatHead}


def build_model(genome: Genome) -> DarkUNet:
    """The network of `genome`, initialised from torch's global generator, in training mode."""
    return DarkUNet(genome)


@torch.no_grad()
def fold(model: DarkUNet) -> DarkUNet:
    """A copy as it is deployed: weight norm folded, a "rep" block one convolution, in eval mode.

    It gives the same output as `model` in eval mode, to 1e-4 in float32.
    """
    folded = copy.deepcopy(model).eval()
    for module in list(folded.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Foldable):
                setattr(module, name, child.folded())
            elif isinstance(child, nn.Conv2d) and parametrize.is_parametrized(child):
                setattr(module, name, plain_convolution(child))
    return folded.requires_grad_(False)


@torch.no_grad()
def restore(model: DarkUNet, mosaic: Tensor) -> Tensor:
    """sRGB b 3 H W in [0, 1] of an amplified mosaic b 1 H W of any even size of at least 2 x 2.

    The mosaic is padded at the bottom and the right to the network's multiple by mirroring about
    its last row and column, which keeps the CFA phase; the output is cropped back.
    """
    height, width = mosaic.shape[-2:]
    if height % 2 or width % 2:
        raise InputError(
            f"a mosaic's height and width must be even, but got {height} x {width}; "
            "crop one row or column"
        )
    rows = _mirrored(height, -height % model.size_multiple, mosaic.device)
    columns = _mirrored(width, -width % model.size_multiple, mosaic.device)
    if len(rows) > height:
        mosaic = mosaic.index_select(-2, rows)
    if len(columns) > width:
        mosaic = mosaic.index_select(-1, columns)
    training = model.training
    model.eval()
    try:
        out: Tensor = model(mosaic)[..., :height, :width]
    finally:
        model.train(training)
    return out


def _mirrored(size: int, padding: int, device: torch.device) -> Tensor:
    """Rows 0 .. size - 1, then back and forth about the last: a row's parity never changes."""
    period = 2 * (size - 1)
    index = torch.arange(size + padding, device=device) % max(period, 1)
    return torch.where(index < size, index, period - index)
