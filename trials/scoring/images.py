"""Scores of a network's pictures as trials are compared by them: float images, peak 1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from space import DarkUNet, restore
from trials.data import Pair
from trials.device.lock import DeviceLock
from trials.scoring.metrics import psnr_db, ssim


@dataclass(frozen=True)
class ImageScore:
    """One picture's scores: float images, peak 1, SSIM with the 7 x 7 uniform window."""

    name: str
    psnr_db: float
    ssim: float


@torch.no_grad()
def score_images(model: DarkUNet, pairs: Iterable[Pair]) -> list[ImageScore]:
    """Scores of each pair: float images in [0, 1], all channels and pixels together."""
    scores = []
    for pair in pairs:
        with DeviceLock(str(pair.mosaic.device)).shared():
            dtype = next(model.parameters()).dtype
            output = restore(model, pair.mosaic.to(dtype)).float()
            quality = psnr_db(output, pair.target, peak=1.0)
            similarity = ssim(output, pair.target, peak=1.0)
        scores.append(ImageScore(name=pair.name, psnr_db=float(quality), ssim=float(similarity)))
    return scores
