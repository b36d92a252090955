"""The run of a long training: from its last checkpoint to its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nas.outputs.curve import draw_curve, read_curve
from nas.training.folder import BEFORE_COOLDOWN
from nas.training.settings import Plan
from nas.training.view import View
from space import DarkUNet, count_cost
from trials.config import LatencyConfig
from trials.files import write_text
from trials.latency.measure import frame_size
from trials.outputs import write_outputs
from trials.result import TrialResult
from trials.scoring.images import ImageScore, mean_scores, score_deployed
from trials.training import Checkpointer, TrainLog, train, write_curve
from trials.training.checkpoints import write as write_state

if TYPE_CHECKING:
    from trials import TrialData
    from trials.training.checkpoints import State
    from trials.training.log import Row

# The loss is smoothed over more steps than a trial's: the curve is long, and its lowest value is
# what a divergence is measured against.
SMOOTHING_STEPS = 200
# Rows of the curve, without those of the evaluations.
CURVE_ROWS = 400


def run(
    plan: Plan,
    model: DarkUNet,
    data: TrialData,
    settings: Mapping[str, Any],
    folder: Path,
    checkpointer: Checkpointer,
    state: State | None,
    view: View,
) -> TrainLog:
    """Trains `model` from `state` on; unless it diverges, writes a trial's files to `folder`.

    Raises PreemptedError where the checkpointer's `stop` says so, and OSError for a full disk.
    """
    steps, images = plan.train.steps, list[ImageScore]()

    def score(network: DarkUNet, log: TrainLog) -> bool:
        latency, check_stop = LatencyConfig(), checkpointer.check_stop
        images[:] = score_deployed(
            network, data.held_out, latency, plan.device, view.progress, check_stop
        )
        psnr_db, ssim = mean_scores(images)
        log.rows[-1] |= {"psnr_db": psnr_db, "ssim": ssim}
        _write_curve(folder, log.rows)
        view.row(log.rows[-1])
        return True

    log = train(
        model,
        data,
        plan.train,
        seed=plan.seed,
        is_new=plan.weights is None,
        precision=getattr(torch, plan.precision),
        smoothing_steps=SMOOTHING_STEPS,
        row_steps=max(1, steps // CURVE_ROWS),
        evaluations=range(plan.eval_steps, steps, plan.eval_steps),
        score=score,
        save=checkpointer.save,
        before_cooldown=lambda now: write_state(folder / BEFORE_COOLDOWN, now),
        state=state,
        on_progress=view.progress,
    )
    if not log.diverged:
        write_outputs(folder, model, log.rows, data.held_out, config=plan.data)
        result = _result(plan, log, images)
        result["training"] = {
            "settings": dict(settings),
            "data": data.description,
            "steps": log.steps,
            "waited_s": log.waited_s,
            "of": plan.name,
        }
        write_text(folder / "result.json", json.dumps(result, indent=1))
    return log


def _write_curve(folder: Path, rows: list[Row]) -> None:
    write_curve(folder / "curve.csv", rows)
    curve = read_curve(folder / "curve.csv")
    if len(curve) > 1:
        write_text(folder / "curve.svg", draw_curve(curve, rows))


def _result(plan: Plan, log: TrainLog, images: list[ImageScore]) -> dict[str, Any]:
    """As a trial's; latency and ratio to MO are those of the network's trial, if it has one."""
    measured = plan.trial_latency()
    latency = measured["latency"] or {}
    height, width = frame_size(LatencyConfig(), "cpu")
    height, width = int(latency.get("height", height)), int(latency.get("width", width))
    psnr_db, ssim = mean_scores(images)
    result = TrialResult(
        kind="complete",
        genome=plan.genome,
        cost=count_cost(plan.genome, height, width),
        psnr_db=psnr_db,
        ssim=ssim,
        images=images,
        train_seconds=log.seconds,
    )
    return {**result.to_dict(), **measured}
