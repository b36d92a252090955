"""A whole raw photo through a network, tile by tile, in little memory.

Only the sensor's values and the finished picture are held whole, in 16 bits. What a network is fed
with is made for one tile at a time: black subtracted, amplified, white-balanced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from space.tiles import TILE_SIZE, margin_for, plan_tiles
from trials.data.dataset import amplify, channel_gains
from trials.raw.colour import develop
from trials.raw.images import as_sensor, blank_picture, turned_size
from trials.raw.reader import RawFrame, WholeFrame, normalise

if TYPE_CHECKING:
    from space import DarkUNet

# White pixels between the two halves of a comparison.
GAP = 16
# Rows of the sensor that are developed at a time.
BAND = 256


def amplification(
    frame: RawFrame, ratio: float, *, white_balanced: bool
) -> tuple[float, float, float]:
    """Gains of red, green and blue: the exposure ratio, and the white balance (its smallest gain
    one) if asked for.
    """
    return channel_gains(ratio, frame.white_balance if white_balanced else (1.0, 1.0, 1.0))


def restore_photo(
    model: DarkUNet,
    photo: WholeFrame,
    ratio: float,
    *,
    white_balanced: bool,
    tile_size: int = TILE_SIZE,
    margin: int | None = None,
    on_tile: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint16]:
    """The restored picture, h w 3, sRGB, 0 to 65535, of the size and the way up that the camera
    says.

    `ratio` is the amplification. `model` is in eval mode, anywhere; `on_tile(done, total)` is told
    after every tile. Raises InputError as `space.tiles.plan_tiles`.
    """
    frame = photo.frame
    first = next(model.parameters())
    gains = torch.tensor([amplification(frame, ratio, white_balanced=white_balanced)])
    picture, sensor = _blank(photo)
    tiles = plan_tiles(
        *frame.mosaic.shape,
        multiple=model.size_multiple,
        tile_size=tile_size,
        margin=margin_for(model) if margin is None else margin,
    )
    for done, tile in enumerate(tiles, 1):
        fed = _fed(frame, tile.rows.read, tile.columns.read, gains).to(first.device, first.dtype)
        rgb = tile.restore(model, fed)
        _keep(sensor, photo, tile.rows.used, tile.columns.used, rgb)
        if on_tile:
            on_tile(done, len(tiles))
    return picture


def compare(photo: WholeFrame, ratio: float, restored: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Before and after, side by side: the amplified photo as the camera would develop it, one
    colour for each 2 x 2 cell, and what `restore_photo` gave (h w 3); h (2 w + gap) 3.
    """
    height, width = restored.shape[:2]
    both = blank_picture(height, 2 * width + GAP)
    both[:, width : width + GAP] = 65535
    both[:, width + GAP :] = restored
    _develop(photo, ratio, as_sensor(both[:, :width], photo.flip))
    return both


def _develop(photo: WholeFrame, ratio: float, sensor: NDArray[np.uint16]) -> None:
    frame = photo.frame
    gains = torch.tensor([amplification(frame, ratio, white_balanced=True)])
    matrix = torch.from_numpy(frame.camera_to_srgb)
    height, width = frame.mosaic.shape
    for top in range(0, height, BAND):
        rows, columns = slice(top, min(top + BAND, height)), slice(0, width)
        fed = _fed(frame, rows, columns, gains)
        green = (fed[..., 0::2, 1::2] + fed[..., 1::2, 0::2]) / 2
        cells = torch.cat([fed[..., 0::2, 0::2], green, fed[..., 1::2, 1::2]], dim=1)
        rgb = develop(cells, matrix).repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
        _keep(sensor, photo, rows, columns, rgb)


def _fed(frame: RawFrame, rows: slice, columns: slice, gains: Tensor) -> Tensor:
    """A part of the amplified mosaic, 1 1 h w."""
    part = normalise(frame.mosaic[rows, columns], frame.black, frame.white_level)
    return amplify(torch.from_numpy(part)[None, None], gains)


def _blank(photo: WholeFrame) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
    """An unfilled picture, and the same memory as the sensor lay."""
    rows, columns = photo.picture
    size = turned_size(rows.stop - rows.start, columns.stop - columns.start, photo.flip)
    picture = blank_picture(*size)
    return picture, as_sensor(picture, photo.flip)


def _keep(
    sensor: NDArray[np.uint16], photo: WholeFrame, rows: slice, columns: slice, rgb: Tensor
) -> None:
    """Puts `rgb` (1 3 h w, of these rows and columns of the mosaic) into the picture; what was
    mirrored in is left out.
    """
    places, inner = [], []
    for span, shown in ((rows, photo.picture[0]), (columns, photo.picture[1])):
        first, last = max(span.start, shown.start), min(span.stop, shown.stop)
        places.append(slice(first - shown.start, last - shown.start))
        inner.append(slice(first - span.start, last - span.start))
    part = rgb[0, :, inner[0], inner[1]].float().mul(65535).round_().permute(1, 2, 0).cpu().numpy()
    sensor[places[0], places[1]] = part
