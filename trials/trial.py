"""One trial from its genome to its result: cost, latency, and only then training and judging.

Latency needs no training, so a genome over the limit is never trained. Whatever can go wrong with
a genome (over the limit, diverged, out of memory) is a kind of result, not a crash.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from space import BASELINES, Cost, DarkUNet, Genome, build_model, count_cost
from trials.config import TrialConfig
from trials.data.pair import Progress, TrialData
from trials.device.errors import free_memory, is_lost, is_out_of_memory, lost
from trials.files import replacing
from trials.latency.deployment import scoring_form, numerics
from trials.latency.measure import Latency, frame_size
from trials.latency.statistics import LatencyRatio
from trials.latency.trial_timing import Timed, is_close, time_network
from trials.outputs import write_weights
from trials.preview import write_preview
from trials.training.checkpointer import Checkpointer
from trials.training.loop import ImageScore, TrainLog, evaluate, train
from trials.training.rungs import Decide, RungScore, rung_steps
from trials.training.trial_checkpoint import TrialCheckpoint

KINDS = ("complete", "stopped", "over_limit", "diverged", "out_of_memory")
# Pairs in a trial's preview.
PREVIEWED = 2


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What one trial found. `kind` is "complete", "stopped" (at a rung), "over_limit" (too slow:
    not trained), "diverged" or "out_of_memory"; `message` tells why it is not complete. PSNR in dB
    (peak 1, float) and SSIM (7 x 7 uniform) are means over the held-out pairs; `images` holds each
    pair's. `ratio_to_mo` was timed in turn with MO. `rungs` are the scores on the way, the last
    step's included; a stopped trial's PSNR, SSIM and images are those of its last.
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


def run_trial(
    genome: Genome,
    config: TrialConfig,
    *,
    data: TrialData,
    directory: Path,
    latency_limit_ms: float | None = None,
    mo_latency_ms: float | None = None,
    decide: Decide | None = None,
    keeper: Checkpointer | None = None,
    timed: Timed | None = None,
    rough_first: bool = False,
    on_progress: Progress | None = None,
) -> TrialResult:
    """Measures, trains and judges the network of `genome`; leaves what it found in `directory`.

    There: genome.json, result.json (last, so that where it is, all is), and for a complete or
    stopped trial weights.safetensors (as trained, weight norm unfolded), curve.csv and
    preview.png. Progress is told as "latency", "resume", "train" and "evaluate". With
    `mo_latency_ms`, MO's milliseconds in the study, the limit holds for the ratio to MO times
    that, and not for a moment's milliseconds. At each rung of the training (`trials.rung_steps`)
    the averaged weights are judged and `decide` is asked whether it goes on; without it there are
    no rungs. With `keeper` the training is kept as it goes, and goes on where it was kept before
    ("resume" tells the step); the network is then not timed again by the same model of device.
    (What is kept is the caller's to discard, once the result is safe.) Nor is it timed where its
    latency is given as `timed`. With `rough_first` a network that is stopped was only looked at
    roughly (trials/latency/trial_timing.py). Raises InputError for a config that can't be met,
    DeviceLostError where the device vanishes, OSError for a full disk, and PreemptedError where
    the keeper was asked to stop; what is raised in `on_progress` passes through.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tell: Callable[..., None] = on_progress or (lambda *_: None)
    _write_text(directory / "genome.json", genome.to_json(indent=1))
    height, width = frame_size(config.latency, config.device)
    cost = count_cost(genome, height, width)
    found = TrialResult(kind="complete", genome=genome, cost=cost)
    run = TrialCheckpoint(keeper, genome, config, data) if keeper else None
    try:
        tell("latency", 0, 1, {})
        torch.manual_seed(config.seed)
        model = build_model(genome)
        rough = rough_first and not timed and genome != BASELINES["MO"]
        latency, ratio = (
            timed or (run.timed() if run else None) or time_network(genome, config, rough=rough)
        )
        if (
            rough
            and latency_limit_ms is not None
            and is_close((latency, ratio), latency_limit_ms, mo_latency_ms)
        ):
            rough, (latency, ratio) = False, time_network(genome, config)
        found = replace(found, latency=latency, ratio_to_mo=ratio)
        tell("latency", 1, 1, {"latency_ms": latency.median_ms})
        latency_ms = latency.median_ms if mo_latency_ms is None else ratio.value * mo_latency_ms
        if latency_limit_ms is not None and latency_ms > latency_limit_ms:
            message = (
                f"{latency_ms:.2f} ms is over the limit of {latency_limit_ms:g} ms: not trained"
            )
            found = replace(found, kind="over_limit", message=message)
        else:
            found, log = _train(found, model, data, config, latency_ms, decide, on_progress, run)
            if found.kind == "complete" and rough:
                tell("latency", 0, 1, {})
                latency, ratio = time_network(genome, config)
                found = replace(found, latency=latency, ratio_to_mo=ratio)
            if found.kind in ("complete", "stopped"):
                _leave(directory, model, log, data, config)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            if is_lost(error, config.device):
                raise lost(error, config.device) from error
            raise
        free_memory()
        shape = (
            f"{height} x {width}"
            if not found.latency
            else f"{config.train.batch} crops of {config.train.crop}"
        )
        message = f"out of memory on {config.device} at {shape}"
        found = replace(
            found, kind="out_of_memory", psnr_db=None, ssim=None, images=[], message=message
        )
    _write_text(directory / "result.json", json.dumps(found.to_dict(), indent=1))
    return found


def train_to_the_end(
    genome: Genome, config: TrialConfig, *, data: TrialData, on_progress: Progress | None = None
) -> list[RungScore]:
    """The scores of a whole training at each of its rungs, the last step's included: what a trial
    of `genome` shows that nobody stops. No clock, and nothing is left on disk. Of a training that
    diverges, those until then.
    """
    torch.manual_seed(config.seed)
    model = build_model(genome)
    height, width = frame_size(config.latency, config.device)
    found = TrialResult(kind="complete", genome=genome, cost=count_cost(genome, height, width))
    return _train(found, model, data, config, None, lambda _: True, on_progress)[0].rungs


def _train(
    found: TrialResult,
    model: DarkUNet,
    data: TrialData,
    config: TrialConfig,
    latency_ms: float | None,
    decide: Decide | None,
    on_progress: Progress | None,
    run: TrialCheckpoint | None = None,
) -> tuple[TrialResult, TrainLog]:
    """Trains and judges `model`, and asks `decide` on the way."""
    rungs: list[RungScore] = run.rungs() if run else []
    images: list[ImageScore] = []

    def judge(network: DarkUNet, log: TrainLog) -> RungScore:
        images[:] = _scores(network, data, config, on_progress)
        rungs.append(
            RungScore(
                step=log.steps,
                psnr_db=_mean(images, "psnr_db"),
                ssim=_mean(images, "ssim"),
                loss=log.loss,
                seconds=log.seconds,
                latency_ms=latency_ms,
            )
        )
        return rungs[-1]

    def at_rung(network: DarkUNet, log: TrainLog) -> bool:
        score = judge(network, log)
        log.diverged = not math.isfinite(score.psnr_db)
        return not log.diverged and (decide is None or decide(score))

    steps = [] if decide is None else rung_steps(config.train.steps, config.train.first_rung)
    kept = run.training() if run else None
    if run and on_progress:
        step, seconds = (
            (int(kept["log"]["steps"]), float(kept["log"]["seconds"])) if kept else (0, 0.0)
        )
        on_progress("resume", step, config.train.steps, {"seconds": seconds})
    log = train(
        model,
        data,
        config.train,
        seed=config.seed,
        rungs=steps,
        at_rung=at_rung,
        keep=run.keeping(found, rungs) if run else None,
        kept=kept,
        on_progress=on_progress,
    )
    found = replace(found, train_seconds=log.seconds, rungs=rungs)
    if log.diverged:
        return replace(
            found,
            kind="diverged",
            message=f"the loss ran away or was no number at step {log.steps}",
        ), log
    last = rungs[-1] if log.stopped else judge(model, log)
    if log.stopped:
        message = (
            f"stopped at step {last.step} of {config.train.steps}: not among the best third there"
        )
        found = replace(found, kind="stopped", message=message)
    return replace(found, psnr_db=last.psnr_db, ssim=last.ssim, images=list(images)), log


def _scores(
    model: DarkUNet, data: TrialData, config: TrialConfig, on_progress: Progress | None
) -> list[ImageScore]:
    """Each held-out pair's, in the arithmetic that is deployed."""
    pairs = data.held_out
    tell: Callable[..., None] = on_progress or (lambda *_: None)
    images: list[ImageScore] = []
    tell("evaluate", 0, len(pairs), {})
    judged = scoring_form(model, config.latency, config.device)
    for pair in pairs:
        with numerics(torch.device(config.device)):
            images += evaluate(judged, [pair])
        tell("evaluate", len(images), len(pairs), {})
    return images


def _mean(images: list[ImageScore], name: str) -> float:
    return sum(float(getattr(image, name)) for image in images) / len(images)


def _leave(
    directory: Path, model: DarkUNet, log: TrainLog, data: TrialData, config: TrialConfig
) -> None:
    write_weights(
        directory / "weights.safetensors",
        model,
        white_balanced_input=config.data.white_balanced_input,
    )
    with replacing(directory / "curve.csv") as beside, beside.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(log.rows[0]) if log.rows else ["step"])
        writer.writeheader()
        writer.writerows(log.rows)
    pairs = data.held_out
    chosen = sorted({0, len(pairs) // 2})[:PREVIEWED]
    write_preview(directory / "preview.png", model, [pairs[index] for index in chosen])


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
