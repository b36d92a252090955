"""What a stored study holds: the contract between the search, which writes it, and all readers.

Both objectives are Optuna's values: psnr_db (maximised) and latency_ms (minimised). latency_ms is
`ratio_to_mo` times the median that MO itself had in this study, so that a machine that is slower
in one hour than in the next does not reorder the networks. A stopped trial has no values; its
psnr_db, ssim and images are those of its last rung.

A trial's artifacts are in the study's folder ARTIFACTS (optuna.artifacts), by file name as far as
it has them: drawing.svg, preview.png (columns: amplified only, restored, ground truth),
curve.csv (step, loss, lr, seconds), curve.svg, genome.json, weights.safetensors. Notes on the
study and its trials are system attributes in optuna-dashboard's form.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, Unpack, cast

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

SCHEMA: Final = 1
ARTIFACTS: Final = "artifacts"
# The names of the objectives, as optuna-dashboard labels its axes.
METRICS = ("PSNR, dB (held-out)", "latency, ms")
DIRECTIONS: tuple[Literal["maximize"], Literal["minimize"]] = ("maximize", "minimize")
FRONT_LATENCY: Final = "final_latency"

Kind = Literal[
    "complete",  # Optuna's COMPLETE
    "stopped",  # PRUNED, at a rung of its training
    "over_limit",  # PRUNED, infeasible: slower than the latency limit, not trained
    "out_of_memory",  # PRUNED, infeasible
    "diverged",  # PRUNED, infeasible
    "error",  # FAIL
    "interrupted",  # FAIL: its process was killed or asked to stop
]
# Kinds that are final about a network; one of the others may be tried again.
VERDICTS: Final = ("complete", "stopped", "over_limit", "diverged", "out_of_memory")
# What was decided at a rung: the training goes on, was stopped, could not be stopped, or ended.
Decision = Literal["on", "stopped", "exempt", "end"]
END: Final = "end"


class ReferenceAttrs(TypedDict):
    """The point from which the front's hypervolume counts."""

    psnr_db: float
    latency_ms: float


class DeviceAttrs(TypedDict):
    """The device whose latencies count."""

    kind: str
    """cpu or cuda."""
    name: str


class StudyAttrs(TypedDict, total=False):
    """A study's user attributes."""

    schema: int
    """SCHEMA of the program that made it."""
    opened_at: str
    config: dict[str, Any]
    """Every key of its StudyConfig, as last run."""
    fixed: dict[str, Any]
    """The keys that may not change, flat ("train.steps")."""
    device: DeviceAttrs
    data: dict[str, Any]
    """trials.TrialData.description."""
    baseline_psnr_db: float
    """PSNR of the amplified mosaics alone on the held-out pairs."""
    reference: ReferenceAttrs
    final_latency: dict[str, dict[str, Any]]
    """The front, measured again in one run at a search's end: by digest ratio_to_mo and
    device_ratio_to_mo (trials.LatencyRatio, the latter or None), latency (trials.Latency) and
    measured_at; the same run's MO under "mo"."""
    proxy: dict[str, Any]
    """What nas.proxy measured."""


class RungAttrs(TypedDict, total=False):
    """A training at one of its rungs (trials.RungScore), and what was decided there."""

    step: int
    psnr_db: float | None
    ssim: float | None
    loss: float | None
    seconds: float
    latency_ms: float | None
    decision: Decision


class ImageAttrs(TypedDict, total=False):
    """One held-out pair."""

    name: str
    psnr_db: float
    ssim: float


class TrialAttrs(TypedDict, total=False):
    """A trial's user attributes; a trial has those that its kind has."""

    kind: Kind
    genome: str
    """JSON of the network."""
    digest: str
    """16 digits, equal for equal networks."""
    baseline: str
    """MO, M1 or M2, on the published networks only."""
    queued: bool
    """Whether a user queued it."""
    sampler: str
    """What proposed it; not on baselines."""
    cost: dict[str, Any]
    """parameters, deployed_parameters, macs, parts (MACs by part), height, width: at the
    latency's shape."""
    parts: dict[str, float]
    """Share of the MACs by part (space.Cost.parts); they sum to 1."""
    latency: dict[str, Any]
    """trials.Latency: median_ms, p10_ms, p90_ms, peak_memory_mib, steady, height, dtype, device
    ...; milliseconds are end to end."""
    ratio_to_mo: float
    """Latency divided by MO's, both timed in turn in that trial."""
    ratio_to_mo_interval: list[float]
    """[low, high], 95 % confidence."""
    ratio_drift: float
    """Its drift over the measurement, a share."""
    psnr_db: float
    """Mean over the held-out pairs, as ssim."""
    ssim: float
    images: list[ImageAttrs]
    train_seconds: float
    rungs: list[RungAttrs]
    directory: str
    """Of its weights, curve and preview, relative to the study's folder."""
    message: str
    """One line: why it is not complete."""
    repeat_of: int
    """Number of the finished trial of the same network whose values this one got. A repeat has no
    artifacts of its own."""
    retry_of: int
    """Number of the interrupted trial that this one goes on with."""
    attempts: int
    """How often a process has died with this network."""
    reached: dict[str, Any]
    """step and seconds of training at the last sign of life before the interruption."""
    resumed: dict[str, Any]
    """from_step, lost_steps and lost_s: where a retry resumed, and what was lost."""
    folder: str
    """The id of the study folder it runs in, and that of its machine (nas/loop/claim.py)."""
    machine: str
    wants_timing: bool
    """Whether it waits for the latency device (nas/loop/reference_device.py)."""
    timed: dict[str, Any]
    """The answer: latency (trials.Latency) and ratio_to_mo (trials.LatencyRatio), or failed."""


def finite(value: Any) -> Any:
    """`value` with None for every number, however deep, that JSON (and a database) hasn't."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def study_attrs(study: optuna.Study) -> StudyAttrs:
    """The user attributes of `study`, typed."""
    return cast(StudyAttrs, study.user_attrs)


def trial_attrs(trial: optuna.Trial | FrozenTrial) -> TrialAttrs:
    """The user attributes of `trial`, typed."""
    return cast(TrialAttrs, trial.user_attrs)


def set_study_attrs(study: optuna.Study, **attrs: Unpack[StudyAttrs]) -> None:
    """Stores user attributes of `study`."""
    for key, value in attrs.items():
        study.set_user_attr(key, value)


def set_trial_attrs(trial: optuna.Trial, **attrs: Unpack[TrialAttrs]) -> None:
    """Stores user attributes of `trial`."""
    for key, value in attrs.items():
        trial.set_user_attr(key, value)
