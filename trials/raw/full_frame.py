"""A full raw photo through a network, tile by tile, in little memory.

Only the sensor's values and the finished picture are in memory at full size, in 16 bits. A
network's input is made for one tile at a time: black subtracted, amplified, white-balanced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from space import NetworkInput
from space.tiles import plan_tiles
from trials.raw.amplification import amplify, channel_gains
from trials.raw.colour import develop, enlarge_cells, to_cells
from trials.raw.frame import FullFrame, RawFrame
from trials.raw.images import as_sensor, blank_picture, turned_size

if TYPE_CHECKING:
    from space import DarkUNet

# White pixels between the two halves of a comparison.
GAP = 16
# Rows of the sensor that are developed at a time.
BAND = 256


def restore_photo(
    model: DarkUNet,
    photo: FullFrame,
    ratio: float,
    network_input: NetworkInput,
    *,
    tile_size: int,
    margin: int,
    on_tile: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint16]:
    """The restored picture, h w 3, sRGB, 0 to 65535, of the camera's size and way up.

    `ratio` is the amplification. `model`, which wants `network_input`, is in eval mode, on any
    device; `on_tile(done, total)` is called after every tile. Raises InputError as
    `space.tiles.plan_tiles`.
    """
    frame = photo.frame.for_input(network_input)
    first = next(model.parameters())
    gains = torch.tensor(
        [channel_gains(frame, ratio, white_balanced=network_input.white_balanced)]
    )
    height, width = (visible.stop - visible.start for visible in photo.visible)
    picture = blank_picture(*turned_size(height, width, photo.flip))
    sensor = as_sensor(picture, photo.flip)
    multiple = model.size_multiple
    tiles = plan_tiles(*frame.size, multiple=multiple, tile_size=tile_size, margin=margin)
    for done, tile in enumerate(tiles, 1):
        mosaic = _amplified(frame, tile.rows.read, tile.columns.read, gains)
        rgb = tile.restore(model, mosaic.to(first.device, first.dtype))
        _write_part(sensor, photo, tile.rows.used, tile.columns.used, rgb)
        if on_tile:
            on_tile(done, len(tiles))
    return picture


def compare(photo: FullFrame, ratio: float, restored: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Before and after, side by side: h (2 w + gap) 3.

    Left: the amplified photo as the camera would develop it, one colour for each 2 x 2 cell;
    right: what `restore_photo` gave (h w 3).
    """
    height, width = restored.shape[:2]
    both = blank_picture(height, 2 * width + GAP)
    both[:, width : width + GAP] = 65535
    both[:, width + GAP :] = restored
    sensor, frame = as_sensor(both[:, :width], photo.flip), photo.frame
    gains = torch.tensor([channel_gains(frame, ratio, white_balanced=True)])
    matrix = torch.from_numpy(frame.camera_to_srgb)
    columns = slice(0, frame.size[1])
    for top in range(0, frame.size[0], BAND):
        rows = slice(top, min(top + BAND, frame.size[0]))
        mosaic = _amplified(frame, rows, columns, gains)
        rgb = enlarge_cells(develop(to_cells(mosaic), matrix))
        _write_part(sensor, photo, rows, columns, rgb)
    return both


def _amplified(frame: RawFrame, rows: slice, columns: slice, gains: Tensor) -> Tensor:
    """A part of the amplified mosaic, 1 1 h w."""
    return amplify(torch.from_numpy(frame.normalised(rows, columns))[None, None], gains)


def _write_part(
    sensor: NDArray[np.uint16], photo: FullFrame, rows: slice, columns: slice, rgb: Tensor
) -> None:
    """Puts `rgb` (1 3 h w, these rows and columns) into the picture, but for what was mirrored."""
    outer, inner = [], []
    for span, visible in zip((rows, columns), photo.visible, strict=True):
        first, last = max(span.start, visible.start), min(span.stop, visible.stop)
        outer.append(slice(first - visible.start, last - visible.start))
        inner.append(slice(first - span.start, last - span.start))
    part = rgb[0, :, inner[0], inner[1]].float().mul(65535).round_().permute(1, 2, 0).cpu().numpy()
    sensor[outer[0], outer[1]] = part
