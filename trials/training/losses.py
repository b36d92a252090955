"""What a training makes small."""

from __future__ import annotations

from torch import Tensor

from trials.scoring.metrics import ms_ssim


def restoration_loss(output: Tensor, target: Tensor, ms_ssim_weight: float) -> Tensor:
    """L1, or a blend of it with 1 - MS-SSIM (Zhao et al., "Loss Functions for Image Restoration",
    2017).
    """
    l1 = (output - target).abs().mean()
    if ms_ssim_weight == 0:
        return l1
    structure = 1 - ms_ssim(output, target, peak=1.0).mean()
    return (1 - ms_ssim_weight) * l1 + ms_ssim_weight * structure
