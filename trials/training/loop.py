"""Training one network: Adam, warm-up and cosine, L1, clipped gradients, averaged weights; and
judging it.

The recipe is the same for every genome, so it is built to be safe rather than tuned to one: the
rate rises linearly and falls to zero along a cosine, the gradient's norm is bounded, and the
judged weights are an average over the last steps (checkpoint-to-checkpoint noise would otherwise
exceed the difference between architectures).
"""

import contextlib
import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from space.model import DarkUNet
from trials.config import TrainConfig
from trials.data.pair import Progress, TrialData
from trials.device.lock import DeviceLock
from trials.device.precision import training_dtype
from trials.training.trainer import Trainer, learning_rate

# Progress and the curve's rows at most every so many steps.
ROW_STEPS = 10


@dataclass
class TrainLog:
    """What a training did."""

    rows: list[dict[str, float]] = field(default_factory=list)
    """The learning curve: step, loss (smoothed), lr, seconds."""
    diverged: bool = False
    seconds: float = 0.0
    loss: float = math.nan
    """Training loss at its end (or at the rung where it is), smoothed."""
    steps: int = 0
    """Steps done, fewer than asked for only if it diverged or was stopped."""
    stopped: bool = False
    """Whether it was ended at a rung."""


AtRung = Callable[[DarkUNet, TrainLog], bool]
"""Judges a copy of the network on its way; False ends the training."""
Keep = Callable[[TrainLog, Callable[[], dict[str, Any]], bool], None]
"""Called after every step with the log, what makes the training's state, and whether the step was
a rung.
"""


def train(
    model: DarkUNet,
    data: TrialData,
    config: TrainConfig,
    *,
    seed: int,
    rungs: Collection[int] = (),
    at_rung: AtRung | None = None,
    keep: Keep | None = None,
    kept: Mapping[str, Any] | None = None,
    on_progress: Progress | None = None,
) -> TrainLog:
    """Trains `model` in place on crops of `data`; it ends with averaged weights, in eval mode.

    After each step of `rungs` (the last step is none: it is the caller's to judge) `at_rung` gets
    a copy of the network with averaged weights and the log so far; it judges, and where it answers
    False the training is over. What happens at a rung changes nothing in the steps after it.

    `keep` may store the training's state after any step; with such a state as `kept` (of the same
    network, config, seed and data) it goes on from there, as if it had never been interrupted.

    The seed fixes the crops and their noise; on the CPU the same seed and threads give the same
    weights bit for bit. (The initial weights are the caller's.) A loss that is not finite or runs
    away ends the training with `diverged` set, without an exception; on a GPU it is seen at the
    next row or rung. `on_progress("train", done, steps, figures)` is called every few steps; what
    it raises passes through. Raises InputError for a crop that the network can't take.
    """
    trainer = Trainer(
        model, config, data.device, precision=training_dtype(config.dtype, data.device)
    )
    generator = torch.Generator(data.device).manual_seed(seed)
    log = TrainLog()
    if kept is not None:
        trainer.restore(kept["trainer"])
        generator.set_state(kept["generator"])
        log = TrainLog(**kept["log"])

    def state() -> dict[str, Any]:
        told = {name: getattr(log, name) for name in ("rows", "seconds", "loss", "steps")}
        return {"trainer": trainer.state(), "generator": generator.get_state(), "log": told}

    lock = DeviceLock(str(data.device))
    started = time.perf_counter() - log.seconds
    # A measurement of latency, here or in another process, waits for the end of a step, and on a
    # GPU of those queued with it.
    with contextlib.ExitStack() as held:
        for step in range(log.steps, config.steps):
            if trainer.settled:
                held.close()
                held.enter_context(lock.shared())
            mosaic, target = data.sample(config.batch, config.crop, generator)
            log.diverged = not trainer.step(step, mosaic, target)
            log.steps = step + 1
            is_rung = at_rung is not None and log.steps in rungs
            row_due = log.steps % ROW_STEPS == 0 or log.steps == config.steps
            if row_due or is_rung:
                log.diverged = not trainer.settle() or log.diverged
            if trainer.settled:
                held.close()
            log.loss = trainer.watch.smoothed
            if log.diverged:
                break
            if row_due:
                log.seconds = time.perf_counter() - started
                row = {
                    "step": float(log.steps),
                    "loss": log.loss,
                    "lr": learning_rate(step, config),
                    "seconds": log.seconds,
                }
                log.rows.append(row)
                if on_progress:
                    on_progress(
                        "train",
                        log.steps,
                        config.steps,
                        {"loss": log.loss, "seconds": log.seconds},
                    )
            if log.steps == config.steps:
                break
            log.seconds = time.perf_counter() - started
            if at_rung and is_rung:
                log.stopped = not at_rung(trainer.averaged(), log)
                if log.stopped:
                    break
            if keep:
                keep(log, state, is_rung)
            started = time.perf_counter() - log.seconds  # neither judging nor keeping is training
    if not log.stopped:
        log.seconds = time.perf_counter() - started
    trainer.put_average(model)
    model.eval()
    if not all(bool(torch.isfinite(parameter).all()) for parameter in trainer.parameters):
        log.diverged = True
    return log
