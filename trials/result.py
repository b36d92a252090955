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
    """A training at one of its rungs: mean PSNR (dB, peak 1) and SSIM over the held-out pairs,
    with averaged weights.
    """

    step: int
    psnr_db: float
    ssim: float
    loss: float
    """Training loss, smoothed."""
    seconds: float
    """Training time so far."""
    latency_ms: float | None = None
    """The network's latency, scaled to MO's in the study; known before any training."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


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
        return {
            "kind": self.kind,
            "message": self.message,
            "genome": self.genome.to_dict(),
            "digest": self.genome.digest,
            "cost": self.cost.to_dict(),
            "latency": self.latency.to_dict() if self.latency else None,
            "ratio_to_mo": self.ratio_to_mo.to_dict() if self.ratio_to_mo else None,
            "psnr_db": self.psnr_db,
            "ssim": self.ssim,
            "images": [asdict(image) for image in self.images],
            "rungs": [rung.to_dict() for rung in self.rungs],
            "train_seconds": self.train_seconds,
        }
