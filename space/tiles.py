"""Pictures too large for one pass, restored by overlapping tiles without seams.

Inside the network every convolution pads its input with zeros. Along the frame's border that
belongs to the picture; along a tile's border it is wrong, as far inwards as the network's
receptive field reaches. So each tile is read with a margin that is thrown away, and starts at a
multiple of the network's size multiple, where the whole frame's cells start too. With a margin as
wide as the receptive field a tile gives what the whole frame gives.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from space.errors import InputError
from space.model import DarkUNet, restore

# Side of a tile in pixels of the mosaic, margins included. The larger, the less is computed twice;
# it needs 66 bytes of memory for each of its pixels with MO, 116 with M2, and 135 with the
# heaviest network of the space.
TILE_SIZE = 2560
# Widest margin that is taken by itself, so that enough of a tile is left. Few networks of the
# space see further, and the rim of a receptive field hardly counts (MO sees 544 pixels far;
# margins of 384 are wrong by 0.03/255, of 256 by 1.2/255).
LARGEST_MARGIN = 768


@dataclass(frozen=True)
class Span:
    """A tile on one axis: pixels `start` to `stop` are read, and `first` to `last` used."""

    start: int
    stop: int
    first: int
    last: int

    @property
    def read(self) -> slice:
        """Its place in the mosaic."""
        return slice(self.start, self.stop)

    @property
    def used(self) -> slice:
        """Where in the picture its used part belongs."""
        return slice(self.first, self.last)

    @property
    def inner(self) -> slice:
        """Where in the restored tile its used part lies."""
        return slice(self.first - self.start, self.last - self.start)


@dataclass(frozen=True)
class Tile:
    """A part of a frame that is restored in one pass."""

    rows: Span
    columns: Span

    def restore(self, model: DarkUNet, mosaic: Tensor) -> Tensor:
        """sRGB, b 3 h w, of the used part, from the rows and columns that are read, b 1 h w."""
        return restore(model, mosaic)[..., self.rows.inner, self.columns.inner]


def plan_tiles(
    height: int, width: int, *, multiple: int, margin: int, tile_size: int = TILE_SIZE
) -> list[Tile]:
    """Tiles whose used parts cover a mosaic of `height` x `width` once, row by row.

    Tiles start at multiples of `multiple`, are at most `tile_size` long and overlap by twice
    `margin` (rounded up to `multiple`). Raises InputError where the tile has no room for its
    margins.
    """
    margin = -(-margin // multiple) * multiple
    smallest = 2 * margin + multiple
    if tile_size < smallest and max(height, width) > tile_size:
        raise InputError(
            f"a tile must be at least {smallest} pixels for margins of {margin}, but got "
            f"{tile_size}; take {smallest} or more"
        )
    columns = _spans(width, multiple, margin, tile_size)
    return [
        Tile(rows, span)
        for rows in _spans(height, multiple, margin, tile_size)
        for span in columns
    ]


def _spans(size: int, multiple: int, margin: int, tile_size: int) -> list[Span]:
    """One axis: as few tiles as there can be, and all as long as each other but the last."""
    if size <= tile_size:
        return [Span(0, size, 0, size)]
    largest_step = (tile_size - 2 * margin) // multiple * multiple
    count = -(-(size - 2 * margin) // largest_step)
    step = -(-(size - 2 * margin) // (count * multiple)) * multiple
    spans = []
    for index in range(count):
        start = index * step
        stop = min(start + step + 2 * margin, size)
        last = size if stop == size else stop - margin
        spans.append(Span(start, stop, start + margin if index else 0, last))
        if last == size:
            break
    return spans


@torch.no_grad()
def receptive_field(model: DarkUNet) -> int:
    """How many pixels far a pixel of the mosaic acts: a multiple of the network's size multiple.

    Found by trying: not-a-number in one cell of a narrow mosaic turns every pixel that depends on
    it into the same. All kernels are square, so one direction tells both. Restoring with a margin
    this wide is exact.
    """
    multiple = model.size_multiple
    probed = copy.deepcopy(model).float().cpu().eval()
    cells = 64
    while True:
        mosaic = torch.zeros(1, 1, multiple, (2 * cells + 1) * multiple)
        mosaic[..., cells * multiple : (cells + 1) * multiple] = torch.nan
        reached = probed(mosaic).isnan().any(dim=1).any(dim=1)[0].nonzero().flatten() // multiple
        first, last = int(reached[0]), int(reached[-1])
        if first > 0 and last < 2 * cells:
            return max(cells - first, last - cells) * multiple
        cells *= 4


def margin_for(model: DarkUNet) -> int:
    """The margin of a tile: the receptive field, but no more than LARGEST_MARGIN."""
    return min(receptive_field(model), LARGEST_MARGIN)
