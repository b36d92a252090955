"""One trial, from its genome to its result: cost, latency, and only then training and scores.

Latency needs no training, so a genome over the limit is never trained. Whatever can go wrong with
a genome (over the limit, diverged, out of memory) is a kind of result, not a crash.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from space import BASELINES, DarkUNet, Genome, build_model, count_cost
from trials.config import TrialConfig
from trials.data.pair import Progress, TrialData
from trials.device import DeviceMemoryError, device_errors
from trials.files import write_text
from trials.latency.measure import frame_size
from trials.latency.trial_timing import Timed, is_close, time_network
from trials.outputs import write_outputs
from trials.result import RungScore, TrialResult
from trials.scoring.images import ImageScore, mean_scores, score_deployed
from trials.training.checkpoints import Checkpointer, TrialCheckpoint
from trials.training.log import TrainLog
from trials.training.loop import train
from trials.training.rungs import Decide, rung_steps


def run_trial(
    genome: Genome,
    config: TrialConfig,
    *,
    data: TrialData,
    directory: Path,
    latency_limit_ms: float | None = None,
    mo_latency_ms: float | None = None,
    decide: Decide | None = None,
    checkpointer: Checkpointer | None = None,
    timed: Timed | None = None,
    rough_first: bool = False,
    on_progress: Progress | None = None,
) -> TrialResult:
    """Measures, trains and scores the network of `genome`; writes its files to `directory`.

    These are genome.json, result.json (last, so that where it is, all is), and for a complete or
    stopped trial weights.safetensors (as trained, with weight norm), curve.csv and preview.png.
    Progress is reported as "latency", "resume", "train" and "evaluate". If `mo_latency_ms`, MO's
    latency in the study, is given, the limit holds for the ratio to MO times that.

    At each rung of the training (`trials.rung_steps`) `decide` gets the scores of a copy that was
    cooled down, and says whether it continues; without it there are no rungs. With `checkpointer`
    the training is saved as it goes, and resumed from what was saved before ("resume" reports the
    step); the network is then not timed again by the same model of device. (The caller discards
    the checkpoints, once the result is safe.) Nor is it timed where its latency is given as
    `timed`. With `rough_first` a network that is stopped is only timed roughly
    (trials/latency/trial_timing.py).

    Raises InputError for an impossible config, DeviceLostError where the device vanishes, OSError
    for a full disk, PreemptedError where the checkpointer's `stop` says so, and what `on_progress`
    raises.
    """
    directory.mkdir(parents=True, exist_ok=True)
    report: Callable[..., None] = on_progress or (lambda *_: None)
    write_text(directory / "genome.json", genome.to_json(indent=1))
    height, width = frame_size(config.latency, config.device)
    result = TrialResult(kind="complete", genome=genome, cost=count_cost(genome, height, width))
    checkpoint = TrialCheckpoint(checkpointer, genome, config, data) if checkpointer else None
    try:
        with device_errors(config.device):
            report("latency", 0, 1, {})
            torch.manual_seed(config.seed)
            model = build_model(genome)
            is_rough = rough_first and not timed and genome != BASELINES["MO"]
            timed = timed or (checkpoint.timed if checkpoint else None)
            timed = timed or time_network(genome, config, rough=is_rough)
            if is_rough and latency_limit_ms is not None:
                is_rough = not is_close(timed, latency_limit_ms, mo_latency_ms)
                timed = timed if is_rough else time_network(genome, config)
            latency, ratio = timed
            result = replace(result, latency=latency, ratio_to_mo=ratio)
            report("latency", 1, 1, {"latency_ms": latency.median_ms})
            latency_ms = (
                latency.median_ms if mo_latency_ms is None else ratio.value * mo_latency_ms
            )
            if latency_limit_ms is not None and latency_ms > latency_limit_ms:
                over = f"over the limit of {latency_limit_ms:g} ms"
                message = f"{latency_ms:.2f} ms is {over}: not trained"
                result = replace(result, kind="over_limit", message=message)
            else:
                if checkpoint:
                    checkpoint.timed = timed
                result, log = _train(
                    result, model, data, config, latency_ms, decide, checkpoint, on_progress
                )
                if result.kind == "complete" and is_rough:
                    report("latency", 0, 1, {})
                    latency, ratio = time_network(genome, config)
                    result = replace(result, latency=latency, ratio_to_mo=ratio)
                if result.kind in ("complete", "stopped"):
                    write_outputs(directory, model, log.rows, data.held_out, config=config.data)
    except DeviceMemoryError:
        crops = f"{config.train.batch} crops of {config.train.crop}"
        work = crops if result.latency else f"{height} x {width}"
        message = f"out of memory on {config.device} at {work}"
        result = replace(result, kind="out_of_memory", message=message)
        result = replace(result, psnr_db=None, ssim=None, images=[])
    write_text(directory / "result.json", json.dumps(result.to_dict(), indent=1))
    return result


def train_to_the_end(
    genome: Genome, config: TrialConfig, *, data: TrialData, rungs: Sequence[int] | None = None
) -> list[RungScore]:
    """The scores at each rung, the last step included, of a trial that is never stopped.

    `rungs` are their steps, rising, if they are not the config's own. Latency is not measured, no
    file written. A training that diverges has scores until then.
    """
    torch.manual_seed(config.seed)
    model = build_model(genome)
    cost = count_cost(genome, *frame_size(config.latency, config.device))
    result = TrialResult(kind="complete", genome=genome, cost=cost)
    result, _ = _train(result, model, data, config, None, lambda _: True, own_rungs=rungs)
    return result.rungs


def _train(
    result: TrialResult,
    model: DarkUNet,
    data: TrialData,
    config: TrialConfig,
    latency_ms: float | None,
    decide: Decide | None,
    checkpoint: TrialCheckpoint | None = None,
    on_progress: Progress | None = None,
    *,
    own_rungs: Sequence[int] | None = None,
) -> tuple[TrialResult, TrainLog]:
    """Trains and scores `model`."""
    rungs = checkpoint.rungs if checkpoint else []
    check_stop = checkpoint.check_stop if checkpoint else None
    images: list[ImageScore] = []
    steps = config.train.steps

    def score(network: DarkUNet, log: TrainLog) -> bool:
        images[:] = score_deployed(
            network, data.held_out, config.latency, config.device, on_progress, check_stop
        )
        psnr_db, ssim = mean_scores(images)
        means = {"psnr_db": psnr_db, "ssim": ssim}
        rung = RungScore(
            step=log.steps, loss=log.loss, seconds=log.seconds, latency_ms=latency_ms, **means
        )
        rungs.append(rung)
        log.rows[-1] |= means
        log.diverged = not math.isfinite(psnr_db)
        return log.diverged or log.steps == steps or decide is None or decide(rung)

    if checkpoint and on_progress:
        log = TrainLog(**checkpoint.training["log"]) if checkpoint.training else TrainLog()
        on_progress("resume", log.steps, steps, {"seconds": log.seconds})
    log = train(
        model,
        data,
        config.train,
        seed=config.seed,
        rungs=(own_rungs or rung_steps(steps, config.train.first_rung)) if decide else (),
        score=score,
        save=checkpoint.save if checkpoint else None,
        state=checkpoint.training if checkpoint else None,
        on_progress=on_progress,
    )
    result = replace(result, train_seconds=log.seconds, rungs=rungs)
    if log.diverged:
        message = f"the loss ran away or was not finite at step {log.steps}"
        return replace(result, kind="diverged", message=message), log
    if log.stopped:
        message = f"stopped at step {log.steps} of {steps}: not among the best third there"
        result = replace(result, kind="stopped", message=message)
    last = rungs[-1]
    return replace(result, psnr_db=last.psnr_db, ssim=last.ssim, images=list(images)), log
