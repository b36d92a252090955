"""Scores of a network on pairs of images, as a trial and a training report them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from space import DarkUNet, restore
from trials.config import LatencyConfig
from trials.data.pair import Pair, Progress
from trials.device import DeviceLock
from trials.latency.deployment import numerics, scoring_form
from trials.scoring.metrics import psnr_db, ssim


@dataclass(frozen=True)
class ImageScore:
    """Scores of one image: float, peak 1, SSIM with the 7 x 7 uniform window."""

    name: str
    psnr_db: float
    ssim: float


@torch.no_grad()
def score_images(model: DarkUNet, pairs: Iterable[Pair]) -> list[ImageScore]:
    """The score of each pair: float images in [0, 1], all channels and pixels together."""
    scores = []
    for pair in pairs:
        with DeviceLock(str(pair.mosaic.device)).shared():
            dtype = next(model.parameters()).dtype
            output = restore(model, pair.mosaic.to(dtype)).float()
            values = (float(metric(output, pair.target, peak=1.0)) for metric in (psnr_db, ssim))
            scores.append(ImageScore(pair.name, *values))
    return scores


def score_deployed(
    model: DarkUNet,
    pairs: Sequence[Pair],
    config: LatencyConfig,
    device: str,
    on_progress: Progress | None = None,
    check_stop: Callable[[], None] | None = None,
) -> list[ImageScore]:
    """As `score_images`, in the arithmetic that is deployed.

    Reports its progress as "evaluate". `check_stop` is called before each pair, and may raise.
    """
    images: list[ImageScore] = []
    network = scoring_form(model, config, device)
    for pair in pairs:
        if on_progress:
            on_progress("evaluate", len(images), len(pairs), {})
        if check_stop:
            check_stop()
        with numerics(torch.device(device)):
            images += score_images(network, [pair])
    if on_progress:
        on_progress("evaluate", len(images), len(pairs), {})
    return images


def mean_scores(images: Sequence[ImageScore]) -> tuple[float, float]:
    """Mean PSNR (dB) and mean SSIM."""
    count = len(images)
    return sum(one.psnr_db for one in images) / count, sum(one.ssim for one in images) / count
