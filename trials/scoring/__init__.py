"""How good a restored picture is: metrics, named protocols, and the amplify-only baseline."""

from trials.scoring.bootstrap import (
    RESAMPLES,
    Difference,
    difference_over_trainings,
    paired_difference,
)
from trials.scoring.protocols import (
    MISALIGNED_SCENES,
    SID50_PICTURES,
    Picture,
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
    "Picture",
    "PictureScore",
    "Protocol",
    "Restorer",
    "baseline_restorer",
    "difference_over_trainings",
    "find_protocol",
    "network_restorer",
    "paired_difference",
    "score_pictures",
]
