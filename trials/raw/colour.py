"""What a camera does to colour, as LibRaw's default development does it (SID's ground truth).

Camera RGB times white balance is clipped at the sensor's white, goes through the colour matrix to
sRGB primaries, is clipped to [0, 1] and gets the BT.709 curve (LibRaw's gamma 2.222, toe slope
4.5).
"""

import torch
from torch import Tensor

# BT.709-6, 1.2, exact: ALPHA * x^POWER - (ALPHA - 1) meets SLOPE * x at TOE with equal slope.
POWER, SLOPE = 0.45, 4.5
TOE, ALPHA = 0.018053968510807, 1.099296826809442


def tone(linear: Tensor) -> Tensor:
    """BT.709 curve: linear light in [0, 1] to display values in [0, 1], element by element."""
    curved = linear.clamp(min=TOE).pow_(POWER).mul_(ALPHA).sub_(ALPHA - 1.0)
    return torch.where(linear < TOE, SLOPE * linear, curved)


def apply_matrix(rgb: Tensor, matrix: Tensor) -> Tensor:
    """`matrix` (3 x 3) on the colour axis of `rgb` (b 3 h w)."""
    red, green, blue = rgb.unbind(dim=1)
    return torch.stack([row[0] * red + row[1] * green + row[2] * blue for row in matrix], dim=1)


def develop(balanced: Tensor, camera_to_srgb: Tensor) -> Tensor:
    """White-balanced linear camera RGB (b 3 h w, 1 = sensor white) to sRGB in [0, 1]."""
    return tone(apply_matrix(balanced.clamp(0.0, 1.0), camera_to_srgb).clamp_(0.0, 1.0))


def to_mosaic(rgb: Tensor) -> Tensor:
    """RGGB samples (b 1 h w) of an image (b 3 h w, h and w even)."""
    mosaic = rgb[:, 1:2].clone()
    mosaic[:, 0, ::2, ::2] = rgb[:, 0, ::2, ::2]
    mosaic[:, 0, 1::2, 1::2] = rgb[:, 2, 1::2, 1::2]
    return mosaic


def to_cells(mosaic: Tensor) -> Tensor:
    """Red, mean green and blue of each cell (b 3 h/2 w/2) of an RGGB mosaic (b 1 h w)."""
    green = (mosaic[..., 0::2, 1::2] + mosaic[..., 1::2, 0::2]) / 2
    return torch.cat([mosaic[..., 0::2, 0::2], green, mosaic[..., 1::2, 1::2]], dim=1)


def enlarge_cells(cells: Tensor) -> Tensor:
    """Every cell's colour on all four of its pixels."""
    return cells.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def mosaic_gains(white_balance: Tensor) -> Tensor:
    """Per-pixel gains of one RGGB cell (b 1 2 2) from white balances (b 3: red, green, blue)."""
    red, green, blue = white_balance.unbind(dim=1)
    return torch.stack([red, green, green, blue], dim=1).reshape(-1, 1, 2, 2)


def scale_mosaic(mosaic: Tensor, gains: Tensor) -> Tensor:
    """`mosaic` (b 1 h w, RGGB) times the gains of its colours (b 1 2 2)."""
    _, _, height, width = mosaic.shape
    cells = mosaic.reshape(-1, 1, height // 2, 2, width // 2, 2)
    return (cells * gains[:, :, None, :, None, :]).reshape(mosaic.shape)


def orient(image: Tensor, turn: int) -> Tensor:
    """A square image (... h h) in orientation `turn`: 1 and 2 mirror, then 4 transposes."""
    if turn & 1:
        image = image.flip(-1)
    if turn & 2:
        image = image.flip(-2)
    return image.transpose(-1, -2) if turn & 4 else image
