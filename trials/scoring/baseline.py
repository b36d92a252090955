"""What amplifying alone gives: the picture that a network must beat.

The cheapest development there is: each 2 x 2 Bayer cell's red, mean green and blue on all four of
its pixels, through the BT.709 curve that raw converters use by default.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from trials.data import Pair
from trials.raw.colour import enlarge_cells, to_cells
from trials.scoring.metrics import psnr_db


def amplified_only(mosaic: Tensor) -> Tensor:
    """The amplified mosaic (b 1 h w, RGGB, linear, even sides) as a picture (b 3 h w, [0, 1])."""
    linear = to_cells(mosaic).clamp(0, 1)
    # ITU-R BT.709-6, item 1.2: linear below 0.018, then a power of 0.45.
    power = 1.099 * linear.clamp(min=0.018) ** 0.45 - 0.099
    curved = torch.where(linear < 0.018, 4.5 * linear, power)
    return enlarge_cells(curved)


def amplified_psnr_db(pairs: Iterable[Pair]) -> float:
    """Mean PSNR in dB, over the pairs, of amplifying alone; peak 1."""
    scores = [float(psnr_db(amplified_only(pair.mosaic), pair.target, peak=1.0)) for pair in pairs]
    return sum(scores) / len(scores)
