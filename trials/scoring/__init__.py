"""How good a restored picture is: metrics, named protocols, and the amplify-only baseline."""

from trials.scoring.baseline import amplified_only, amplified_psnr_db
from trials.scoring.bootstrap import Difference, paired_difference
from trials.scoring.images import ImageScore, score_images
from trials.scoring.metrics import ms_ssim, psnr_db, ssim
from trials.scoring.protocols import (
    PictureScore,
    Protocol,
    Restorer,
    find_protocol,
    score_pictures,
)

__all__ = [
    "Difference",
    "ImageScore",
    "PictureScore",
    "Protocol",
    "Restorer",
    "amplified_only",
    "amplified_psnr_db",
    "find_protocol",
    "ms_ssim",
    "paired_difference",
    "psnr_db",
    "score_images",
    "score_pictures",
    "ssim",
]
