"""The registry of block kinds: what a genome may name, the convolutions of each, and its label.

To add a kind: its entry here, its module (which gets these convolutions) in space/layers.py, and a
test. Genomes, the design space, counts, drawings, the sampler's features and folding follow.
Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Convolution(NamedTuple):
    """A weight-normalised convolution, stride 1; `trained_only`: it is folded into another."""

    inputs: int
    outputs: int
    kernel: int
    groups: int = 1
    bias: bool = True
    trained_only: bool = False

    @property
    def weights(self) -> int:
        """Values of its kernel, which are its multiply-accumulates for one position."""
        return self.inputs * self.outputs * self.kernel**2 // self.groups

    @property
    def deployed_parameters(self) -> int:
        """Kernel and bias; while training, weight norm adds one for each output."""
        return self.weights + self.outputs * self.bias


class Block(NamedTuple):
    """A block of a registered kind."""

    kind: str
    convolutions: tuple[Convolution, ...]


@dataclass(frozen=True, kw_only=True)
class BlockKind:
    """A kind of block: `label` in words and drawings, and its convolutions for so many channels.

    A dense kind has `layers` and `growth` besides, stands in deep branches only, and its chains
    fuse the outputs of all their blocks.
    """

    label: str
    convolutions: Callable[..., list[Convolution]]
    is_dense: bool = False


def _dense(channels: int, layers: int, growth: int) -> list[Convolution]:
    widths = [channels + k * growth for k in range(layers)]
    convs = [Convolution(width, growth, 3, bias=False) for width in widths]
    return [*convs, Convolution(channels + layers * growth, channels, 1, bias=False)]


def _residual(channels: int) -> list[Convolution]:
    return [Convolution(channels, channels, 3)] * 2


def _rep(channels: int) -> list[Convolution]:
    folded = Convolution(channels, channels, 1, bias=False, trained_only=True)
    return [Convolution(channels, channels, 3), folded]


BLOCKS: dict[str, BlockKind] = {
    "rdb": BlockKind(label="RDB", convolutions=_dense, is_dense=True),
    "residual": BlockKind(label="residual", convolutions=_residual),
    "rep": BlockKind(label="rep", convolutions=_rep),
}
PLAIN_BLOCKS = tuple(name for name, kind in BLOCKS.items() if not kind.is_dense)
"""The kinds of the trunk and of the stage at 4x."""


def make_blocks(
    kind: str | None,
    channels: int,
    count: int,
    *,
    layers: int | None = None,
    first_layers: int | None = None,
    growth: int | None = None,
) -> list[Block]:
    """`count` blocks of a registered kind; dense ones have `layers` (or `first_layers`) each."""
    blocks: list[Block] = []
    for index in range(count):
        block = BLOCKS[kind or ""]
        depth = first_layers if index == 0 and first_layers else layers
        dense = (depth, growth) if block.is_dense else ()
        blocks.append(Block(kind or "", tuple(block.convolutions(channels, *dense))))
    return blocks


def count_blocks(count: int | None, kind: str | None) -> str:
    """So many blocks in words: "3 x RDB", "no blocks"."""
    return f"{count} x {BLOCKS[kind].label}" if count and kind else "no blocks"
