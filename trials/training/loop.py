"""The training loop: of a trial, and of a long training.

The recipe is the same for every genome, so it is built to be safe rather than tuned to one: Adam,
L1, a rate that rises linearly and falls to zero along a cosine, a bounded gradient, and averaged
weights (noise between steps would otherwise exceed the difference between architectures).

Everything but checkpoints is decided by the number of the step, never by time. So a training that
is killed and resumed ends with the weights of an unbroken one; on a CPU with as many threads, bit
for bit.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container
from dataclasses import asdict
from typing import Any, Protocol

import torch

from space import DarkUNet
from trials.config import TrainConfig
from trials.data.pair import Progress, TrialData
from trials.device import DeviceLock, keep_freed_memory, training_dtype
from trials.training.checkpoints import PreemptedError, State
from trials.training.divergence import SMOOTHING_STEPS
from trials.training.log import TrainLog
from trials.training.prefetch import Batches
from trials.training.trainer import Trainer, learning_rate

# Progress is reported, and a trial's curve has a row, after so many steps.
REPORT_STEPS = 10

AtRung = Callable[[DarkUNet, TrainLog], bool]
"""Scores a copy of the network, with averaged weights; False ends the training."""


class _DivergedError(Exception):
    """There is no state to save: the training has diverged."""


class Save(Protocol):
    """`Checkpointer.save`."""

    def __call__(self, step: int, state: Callable[[], State], *, due: bool = False) -> None: ...


def train(
    model: DarkUNet,
    data: TrialData,
    config: TrainConfig,
    *,
    seed: int,
    precision: torch.dtype | None = None,
    smoothing_steps: int = SMOOTHING_STEPS,
    row_steps: int = REPORT_STEPS,
    rungs: Container[int] = (),
    at_rung: AtRung | None = None,
    save: Save | None = None,
    state: State | None = None,
    on_progress: Progress | None = None,
) -> TrainLog:
    """Trains `model` in place on crops of `data`; it ends with averaged weights, in eval mode.

    After each step of `rungs`, the last step included, `at_rung` gets a copy of the network with
    averaged weights, and the log; if it returns False or sets `diverged`, the training ends. What
    it does changes nothing in later steps. `save` may store the training's state after any step
    but the last, and with such a `state` (of the same network, config, seed and data) the training
    continues as if unbroken. PreemptedError, from `save` or `at_rung`, leaves a checkpoint of this
    moment.

    The seed fixes the crops and their noise (the initial weights are the caller's). `precision` is
    the dtype of the forward pass, config.dtype's by default. The log has a row after each
    `row_steps`, at the rungs and at the end; `on_progress("train", ...)` is called there and after
    each REPORT_STEPS. A loss that is not finite or runs away ends the training with `diverged`
    set, on a GPU at the next report. Raises InputError for a crop that the network can't take, and
    what the callables and reading the data raise.
    """
    precision = precision or training_dtype(config.dtype, data.device)
    trainer = Trainer(
        model, config, data.device, precision=precision, smoothing_steps=smoothing_steps
    )
    generator = torch.Generator(data.device).manual_seed(seed)
    log = TrainLog()
    if state is not None:
        trainer.restore(state["trainer"])
        generator.set_state(state["generator"])
        log = TrainLog(**state["log"])
    if data.device.type == "cpu":
        # Else each step pays for its pages anew: a tenth of M1's and M2's time.
        keep_freed_memory()
    batches = Batches(
        data, config.batch, config.crop, generator=generator, count=config.steps - log.steps
    )

    def current() -> dict[str, Any]:
        trained = trainer.state()
        if trainer.divergence.diverged:  # as a GPU may only show now
            raise _DivergedError
        log.loss = trainer.divergence.smoothed
        return {"trainer": trained, "generator": batches.generator_state, "log": asdict(log)}

    lock = DeviceLock(str(data.device))
    resumed_at = log.steps
    # A measurement of latency, here or in another process, waits for the end of a step, and on a
    # GPU of those queued with it.
    with batches, contextlib.ExitStack() as lock_held:
        while not log.diverged:
            is_rung = at_rung is not None and log.steps in rungs
            is_last = log.steps == config.steps
            if (is_rung or is_last) and not bool(trainer.optimizer.average.isfinite().all()):
                log.diverged = True
                break
            if at_rung and is_rung and log.last_rung < log.steps:
                try:
                    continues = at_rung(trainer.averaged(), log) and not log.diverged
                except PreemptedError:
                    if save:
                        save(log.steps, current, due=True)
                    raise
                log.last_rung = log.steps
                if not continues:
                    log.stopped = not (log.diverged or is_last)
                    break
            if is_last:
                break
            if save and log.steps > resumed_at:
                try:
                    save(log.steps, current, due=is_rung)
                except _DivergedError:
                    log.diverged = True
                    break
            started, waited_s = time.perf_counter(), batches.waited_s
            if not batches.is_ready:  # it may wait for a measurement that waits for this lock
                trainer.settle()
                lock_held.close()
            mosaic, target = batches.next()
            if trainer.settled:
                lock_held.close()
                lock_held.enter_context(lock.shared())
            healthy = trainer.step(log.steps, mosaic, target)
            log.steps += 1
            is_last = log.steps == config.steps
            row_due = log.steps % row_steps == 0 or log.steps in rungs or is_last
            report_due = row_due or log.steps % REPORT_STEPS == 0
            if report_due:
                healthy = trainer.settle() and healthy
            if trainer.settled:
                lock_held.close()
            log.diverged = not healthy
            log.loss = trainer.divergence.smoothed
            log.waited_s += batches.waited_s - waited_s
            log.seconds += time.perf_counter() - started
            if row_due and healthy:
                rate = learning_rate(log.steps - 1, config)
                row = {"step": log.steps, "loss": log.loss, "lr": rate, "seconds": log.seconds}
                log.rows.append(row)
            if report_due and healthy and on_progress:
                figures = {"loss": log.loss, "seconds": log.seconds}
                on_progress("train", log.steps, config.steps, figures)
    trainer.put_average(model)
    model.eval()
    return log
