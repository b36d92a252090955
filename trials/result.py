"""The result of a trial, as result.json stores it. Loads no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from space import Genome

if TYPE_CHECKING:
    from space import Cost
    from trials.latency.measure import Latency
    from trials.latency.statistics import LatencyRatio
    from trials.scoring.images import ImageScore


@dataclass(frozen=True, kw_only=True)
class RungScore:
    """The averaged weights at a rung: mean PSNR (dB, peak 1) and SSIM over the held-out pairs."""

    step: int
    psnr_db: float
    ssim: float
    loss: float
    """Training loss, smoothed."""
    seconds: float
    """Training time so far."""
    latency_ms: float | None = None
    """The network's latency, scaled to MO's in the study; known before any training."""


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """The result of one trial.

    `kind` is "complete", "stopped" (at a rung), "over_limit" (too slow: not trained), "diverged"
    or "out_of_memory"; `message` says why it is not complete. PSNR in dB (peak 1, float) and SSIM
    (7 x 7 uniform) are means over the held-out pairs, `images` holds each pair's. `ratio_to_mo` is
    the latency over MO's, timed in turn. `rungs` includes the last step's; a stopped trial's PSNR,
    SSIM and images are those of its last rung.
    """

    kind: str
    genome: Genome
    cost: Cost
    latency: Latency | None = None
    ratio_to_mo: LatencyRatio | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    images: list[ImageScore] = field(default_factory=list)
    rungs: list[RungScore] = field(default_factory=list)
    train_seconds: float = 0.0
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        genome, cost = self.genome.to_dict(), self.cost.to_dict()
        first = {"kind": self.kind, "message": self.message, "genome": genome}
        rest = asdict(self) | first | {"cost": cost}
        return {**first, "digest": self.genome.digest, **rest}
