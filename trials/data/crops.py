"""Crops at places that only the device knows: the host need not wait for them."""

from __future__ import annotations

import torch
from torch import Tensor


def gather_crops(scenes: Tensor, places: Tensor, crop: int) -> Tensor:
    """Crops (b c `crop` `crop`) of `scenes` (n c h w), each in its orientation.

    `places` (b 4, integers, on the device of the scenes): scene, top, left, and turn as
    `camera.orient` takes it. What comes back equals slicing and orienting one after the other, in
    a few operations and without a look at `places`.
    """
    which, top, left, turn = places[:, :, None].unbind(1)
    forth = torch.arange(crop, device=scenes.device)
    rows = top + torch.where((turn & 2) > 0, crop - 1 - forth, forth)
    columns = left + torch.where((turn & 1) > 0, crop - 1 - forth, forth)
    transposed = ((turn & 4) > 0)[:, :, None]
    rows = torch.where(transposed, rows[:, None, :], rows[:, :, None])
    columns = torch.where(transposed, columns[:, :, None], columns[:, None, :])
    return scenes[which[:, :, None], :, rows, columns].permute(0, 3, 1, 2).contiguous()
