"""How good a restored picture is: metrics, named protocols, and the amplify-only baseline."""

from trials.scoring.bootstrap import RESAMPLES, Difference, paired_difference
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
    "PictureScore",
    "Protocol",
    "Restorer",
    "baseline_restorer",
    "find_protocol",
    "network_restorer",
    "paired_difference",
    "score_pictures",
]
