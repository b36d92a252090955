"""The training loop: of a trial, and of a long training.

The recipe is the same for every genome, so it is built to be safe rather than tuned to one: Muon,
a loss that noisy and clean crops have the same say in, a bounded gradient, averaged weights (noise
between steps would otherwise exceed the difference between architectures).

The rate is constant, and falls to zero only at the end: the cool-down, which is what makes a
network as good as it can be after so many steps. Whatever comes before a cool-down does not depend
on where the training ends. So a rung is judged by cooling down a copy, which gives what a training
of the rung's length would have given, and a finished training can be gone on with from before its
cool-down.

Everything but checkpoints is decided by the number of the step, never by time. So a training that
is killed and resumed, or gone on with, ends with the weights of an unbroken one; on a CPU with as
many threads, bit for bit.
"""

from __future__ import annotations

import bisect
import contextlib
import copy
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict
from typing import Protocol

import torch

from space import DarkUNet
from trials.config import TrainConfig
from trials.data.pair import Progress, TrialData
from trials.device import DeviceLock, keep_freed_memory, training_dtype
from trials.training.checkpoints import PreemptedError, State
from trials.training.divergence import SMOOTHING_STEPS
from trials.training.initialisation import CROPS, fit_first_layers
from trials.training.log import TrainLog
from trials.training.prefetch import Batches
from trials.training.trainer import Trainer, check, cooldown_start, learning_rate

# Progress is reported, and a trial's curve has a row, after so many steps.
REPORT_STEPS = 10

Score = Callable[[DarkUNet, TrainLog], bool]
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
    is_new: bool = True,
    precision: torch.dtype | None = None,
    smoothing_steps: int = SMOOTHING_STEPS,
    row_steps: int = REPORT_STEPS,
    rungs: Sequence[int] = (),
    evaluations: Container[int] = (),
    score: Score | None = None,
    save: Save | None = None,
    before_cooldown: Callable[[State], None] | None = None,
    state: State | None = None,
    on_progress: Progress | None = None,
) -> TrainLog:
    """Trains `model` in place on crops of `data`; it ends with averaged weights, in eval mode.

    At each of `rungs` (rising steps), and at the end, `score` gets a copy of the network with
    averaged weights, cooled down, and the log; after each step of `evaluations` likewise, but not
    cooled down. If it returns False or sets `diverged`, the training ends. What it does, and a
    rung's cool-down, change nothing in later steps. `save` may store the training's state after
    any step but the last, and with such a `state` (of the same network, config, seed and data) the
    training continues as if unbroken. `before_cooldown` gets the state before the last cool-down,
    to go on from with more steps. PreemptedError, from `save` or `score`, leaves a checkpoint.

    The seed fixes the crops and their noise. The first weights are the caller's; where the network
    `is_new`, gains and biases are fitted to the data before (initialisation.py). `precision` is
    the dtype of the forward pass, config.dtype's by default. The log has a row after each
    `row_steps`, wherever it is judged and at the end; `on_progress("train", ...)` is called there
    and after each REPORT_STEPS. A loss that is not finite or runs away ends the training with
    `diverged` set, on a GPU at the next report. Raises InputError for a crop that the network
    can't take, and what the callables and reading the data raise.
    """
    check(model, config)
    if is_new and state is None:
        first = torch.Generator(data.device).manual_seed(seed)
        fit_first_layers(model, *data.sample(CROPS, config.crop, first))
    training = _Training(
        model,
        data,
        config,
        seed=seed,
        precision=precision or training_dtype(config.dtype, data.device),
        smoothing_steps=smoothing_steps,
        row_steps=row_steps,
        evaluations=evaluations,
        score=score,
        save=save,
        on_progress=on_progress,
    )
    if state is not None:
        training.restore(state)
    log, steps = training.log, config.steps
    ends = [rung for rung in rungs if log.last_rung < rung < steps] if score else []
    for end in [*ends, steps]:
        start, is_last = cooldown_start(end, config), end == steps
        if not training.run(until=start):
            break
        trunk = training.trunk = None if is_last else training.snapshot()
        if is_last and before_cooldown and log.steps == start:
            before_cooldown(training.snapshot())
        if not (training.run(until=end, cooling=True) and training.score(is_rung=True)):
            log.stopped = not (log.diverged or is_last)
            break
        if trunk is not None:
            training.back_to(trunk)
            training.save(due=True)
    training.trainer.put_average(model)
    model.eval()
    return log


class _Training:
    """A training under way: `run` does its steps, `score` scores it.

    `trunk` is the state before a rung's cool-down, while there is one: what is saved meanwhile.
    """

    def __init__(
        self,
        model: DarkUNet,
        data: TrialData,
        config: TrainConfig,
        *,
        seed: int,
        precision: torch.dtype,
        smoothing_steps: int,
        row_steps: int,
        evaluations: Container[int],
        score: Score | None,
        save: Save | None,
        on_progress: Progress | None,
    ) -> None:
        self.trainer = Trainer(
            model, config, data.device, precision=precision, smoothing_steps=smoothing_steps
        )
        self.log = TrainLog()
        self.trunk: State | None = None
        self._data, self._config = data, config
        self._generator = torch.Generator(data.device).manual_seed(seed)
        self._generator_state = self._generator.get_state()
        self._row_steps, self._evaluations = row_steps, evaluations
        self._score, self._save, self._on_progress = score, save, on_progress
        self._lock = DeviceLock(str(data.device))
        self._reported = 0
        if data.device.type == "cpu":
            # Else each step pays for its pages anew: a tenth of M1's and M2's time.
            keep_freed_memory()

    def state(self) -> State:
        """What a later process goes on from: live tensors, not copies."""
        if self.trunk is not None:
            return self.trunk
        trained = self.trainer.state()
        if self.trainer.divergence.diverged:  # as a GPU may only show now
            raise _DivergedError
        self.log.loss = self.trainer.divergence.smoothed
        return {
            "trainer": trained,
            "generator": self._generator_state,
            "log": asdict(self.log),
        }

    def snapshot(self) -> State:
        """A copy of `state`."""
        return copy.deepcopy(self.state())

    def restore(self, state: State) -> None:
        """Goes on from a `state`."""
        self.trainer.restore(state["trainer"])
        self._generator_state = state["generator"]
        self.log.__dict__.update(copy.deepcopy(state["log"]))

    def back_to(self, trunk: State) -> None:
        """Undoes a rung's cool-down, all but what the log says of it."""
        log = self.log
        self.trainer.restore(trunk["trainer"])
        self._generator_state = trunk["generator"]
        log.steps, log.loss = trunk["log"]["steps"], trunk["log"]["loss"]
        self.trunk = None

    def save(self, *, due: bool = False) -> bool:
        """Offers the state to be stored; False if the training turns out to have diverged."""
        if self._save is None:
            return True
        step = self.log.steps if self.trunk is None else self.trunk["log"]["steps"]
        try:
            self._save(step, self.state, due=due)
        except _DivergedError:
            self.log.diverged = True
        return not self.log.diverged

    def score(self, *, is_rung: bool) -> bool:
        """Whether the training goes on, having been scored; not if the weights are not finite."""
        log = self.log
        log.diverged = log.diverged or not bool(self.trainer.optimizer.average.isfinite().all())
        if log.diverged or self._score is None:
            return not log.diverged
        # A training of a few steps has no cool-down that would have left one.
        self._add_row(learning_rate(log.steps - 1, self._config))
        try:
            continues = self._score(self.trainer.averaged(), log) and not log.diverged
        except PreemptedError:
            self.save(due=True)
            raise
        if is_rung:
            log.last_rung = log.steps
        else:
            log.last_evaluation = log.steps
        return continues

    def run(self, *, until: int, cooling: bool = False) -> bool:
        """Does the steps up to `until`, in a cool-down that ends there if `cooling`.

        False if the training has diverged, or an evaluation ended it.
        """
        log, trainer, config = self.log, self.trainer, self._config
        if log.steps >= until:
            return not log.diverged
        self._generator.set_state(self._generator_state)
        batches = Batches(
            self._data,
            config.batch,
            config.crop,
            generator=self._generator,
            count=until - log.steps,
        )
        # A measurement of latency, here or in another process, waits for the end of a step, and on
        # a GPU of those queued with it.
        with batches, contextlib.ExitStack() as lock_held:
            if not self._evaluate():  # if it was stopped at that
                return False
            while log.steps < until:
                started, waited_s = time.perf_counter(), batches.waited_s
                if not batches.is_ready:  # it may wait for a measurement that waits for this lock
                    trainer.settle()
                    lock_held.close()
                mosaic, target = batches.next()
                if trainer.settled:
                    lock_held.close()
                    lock_held.enter_context(self._lock.shared())
                cooling_to = until if cooling else None
                healthy = trainer.step(log.steps, mosaic, target, cooling_to=cooling_to)
                self._generator_state = batches.generator_state
                log.steps += 1
                is_end = log.steps == until
                # What a rung's cool-down goes through is undone; only its end counts.
                row_due = (cooling and is_end) or (self.trunk is None and self._is_row(log.steps))
                report_due = row_due or is_end or log.steps % REPORT_STEPS == 0
                if report_due:
                    healthy = trainer.settle() and healthy
                if trainer.settled:
                    lock_held.close()
                log.diverged = not healthy
                log.loss = trainer.divergence.smoothed
                log.waited_s += batches.waited_s - waited_s
                log.seconds += time.perf_counter() - started
                if row_due and healthy:
                    self._add_row(learning_rate(log.steps - 1, config, cooling_to))
                if report_due and healthy:
                    self._report()
                if log.diverged or not self._evaluate():
                    return False
                if log.steps < config.steps and not self.save():
                    return False
        return True

    def _evaluate(self) -> bool:
        """Scores the network if this step is one of the evaluations; False if that ends it."""
        step = self.log.steps
        due = step in self._evaluations and self.log.last_evaluation < step < self._config.steps
        if not due or self.trunk is not None:
            return True
        return self.score(is_rung=False) and self.save(due=True)

    def _is_row(self, step: int) -> bool:
        return step % self._row_steps == 0 or step in self._evaluations

    def _add_row(self, rate: float) -> None:
        log = self.log
        row = {"step": log.steps, "loss": log.loss, "lr": rate, "seconds": log.seconds}
        # A rung's row is there before those of the steps that its cool-down took instead.
        place = bisect.bisect_left([int(one["step"]) for one in log.rows], log.steps)
        if place == len(log.rows) or log.rows[place]["step"] != log.steps:
            log.rows.insert(place, row)

    def _report(self) -> None:
        log = self.log
        if self._on_progress and log.steps > self._reported:
            figures = {"loss": log.loss, "seconds": log.seconds}
            self._on_progress("train", log.steps, self._config.steps, figures)
            self._reported = log.steps
