"""How good a restored picture is: metrics, named protocols, and the amplify-only baseline."""

from trials.scoring.baseline import amplified_only, amplified_psnr_db
from trials.scoring.bootstrap import RESAMPLES, Difference, paired_difference
from trials.scoring.images import ImageScore, score_images
from trials.scoring.metrics import ms_ssim, psnr_db, ssim
from trials.scoring.protocols import (
    MISALIGNED_SCENES,
    SID50_PICTURES,
    PictureScore,
    Protocol,
    Restorer,
    baseline_restorer,
    find_protocol,
    network_restorer,
    score_pictures,
)

__all__ = [
    "MISALIGNED_SCENES",
    "RESAMPLES",
    "SID50_PICTURES",
    "Difference",
    "ImageScore",
    "PictureScore",
    "Protocol",
    "Restorer",
    "amplified_only",
    "amplified_psnr_db",
    "baseline_restorer",
    "find_protocol",
    "ms_ssim",
    "network_restorer",
    "paired_difference",
    "psnr_db",
    "score_images",
    "score_pictures",
    "ssim",
]
