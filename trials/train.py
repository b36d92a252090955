"""Training one network: Adam, warm-up and cosine, L1, clipped gradients, averaged weights; and judging it.

The recipe is the same for every genome, so it is built to be safe rather than tuned to one: the rate rises linearly
and falls to zero along a cosine, the gradient's norm is bounded, and the judged weights are an average over the last
steps (checkpoint-to-checkpoint noise would otherwise exceed the difference between architectures).
"""

import copy
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from space import InputError, restore
from space.model import DarkUNet
from trials.config import TrainConfig
from trials.exclusive import DeviceLock
from trials.metrics import ms_ssim, psnr_db, ssim
from trials.pairs import Pair, Progress, TrialData
from trials.precision import training_dtype

# Losses are smoothed over about this many steps before they are judged.
SMOOTHING_STEPS = 20
# A smoothed loss this many times its lowest, and above where it began, is a training that has come apart.
DIVERGED_FACTOR = 3.0
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
"""Called after every step with the log, what makes the training's state, and whether the step was a rung."""


@dataclass(frozen=True)
class ImageScore:
    """One picture's scores: float images, peak 1, SSIM with the 7 x 7 uniform window."""

    name: str
    psnr_db: float
    ssim: float


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

    After each step of `rungs` (the last step is none: it is the caller's to judge) `at_rung` gets a copy of the network with
    averaged weights and the log so far; it judges, and where it answers False the training is over. What happens at a rung
    changes nothing in the steps after it.

    `keep` may store the training's state after any step; with such a state as `kept` (of the same network, config, seed and
    data) it goes on from there, as if it had never been interrupted.

    The seed fixes the crops and their noise; on the CPU the same seed and threads give the same weights bit for bit.
    (The initial weights are the caller's.) A loss that is not finite or runs away ends the training with
    `diverged` set, without an exception. `on_progress("train", done, steps, figures)` is called every few steps;
    what it raises passes through. Raises InputError for a crop that the network can't take.
    """
    trainer = Trainer(model, config, data.device, precision=training_dtype(config.dtype, data.device))
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
    for step in range(log.steps, config.steps):
        with lock.shared():  # a measurement of latency, here or in another process, waits for the step's end
            mosaic, target = data.sample(config.batch, config.crop, generator)
            log.diverged = not trainer.step(step, mosaic, target)
        log.steps = step + 1
        log.loss = trainer.watch.smoothed
        if log.diverged:
            break
        if log.steps % ROW_STEPS == 0 or log.steps == config.steps:
            log.seconds = time.perf_counter() - started
            row = {"step": float(log.steps), "loss": log.loss, "lr": learning_rate(step, config), "seconds": log.seconds}
            log.rows.append(row)
            if on_progress:
                on_progress("train", log.steps, config.steps, {"loss": log.loss, "seconds": log.seconds})
        if log.steps == config.steps:
            break
        log.seconds = time.perf_counter() - started
        is_rung = at_rung is not None and log.steps in rungs
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


class Trainer:
    """One network's optimiser, averaged weights and loss watch: what a trial's training and a long one share.

    `precision` is what the forward pass computes in (weights, loss and optimiser stay float32), `smoothing_steps` over
    how many steps the loss is smoothed.
    """

    def __init__(
        self, model: DarkUNet, config: TrainConfig, device: torch.device, *,
        precision: torch.dtype = torch.float32, smoothing_steps: int = SMOOTHING_STEPS,
    ) -> None:  # fmt: skip
        """Puts `model` on `device`, in training mode. Raises InputError for a config that can't be met."""
        check(model, config)
        # Convolutions of half precision want their channels side by side; in float32 it makes no difference to training.
        self.model = model.to(device).train()
        if precision != torch.float32:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.device = device
        self.precision = precision
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # One kernel for all parameters: half the optimiser's time, a tenth of a small network's step.
        fused = device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.Adam(self.parameters, lr=config.learning_rate, betas=(0.9, 0.99), fused=fused)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.watch = LossWatch(smoothing_steps)

    def step(self, step: int, mosaic: Tensor, target: Tensor) -> bool:
        """Step number `step` (from 0) on one batch: False, and nothing learnt, if the training has come apart."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.config)
        mixed = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision, enabled=mixed):
            output = self.model(mosaic)
        loss = restoration_loss(output.float(), target, self.config.ms_ssim_weight)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip)
        if not self.watch.healthy(float(loss.detach()), float(norm)):
            return False
        self.optimiser.step()
        update_average(self.average, self.parameters, min(self.config.ema_decay, (1 + step) / (10 + step)))
        return True

    @torch.no_grad()
    def put_average(self, model: DarkUNet) -> None:
        """Gives `model`, this trainer's or one of the same genome, the averaged weights."""
        learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter, mean in zip(learnt, self.average, strict=True):
            parameter.copy_(mean)

    def averaged(self) -> DarkUNet:
        """A copy of the network with the averaged weights, in eval mode."""
        model = copy.deepcopy(self.model)
        self.put_average(model)
        return model.eval()

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on, for a checkpoint; its tensors are the live ones, not copies."""
        return {
            "weights": [parameter.detach() for parameter in self.parameters], "average": self.average,
            "optimiser": self.optimiser.state_dict(), "watch": vars(self.watch),
        }  # fmt: skip

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave, possibly in another process. Raises ValueError where it is of another network."""
        for mine, kept in ((self.parameters, state["weights"]), (self.average, state["average"])):
            for tensor, value in zip(mine, kept, strict=True):
                if tensor.shape != value.shape:
                    raise ValueError(f"a weight of shape {tuple(value.shape)} is no {tuple(tensor.shape)}")
                tensor.copy_(value)
        self.optimiser.load_state_dict(state["optimiser"])
        vars(self.watch).update(state["watch"])


@torch.no_grad()
def evaluate(model: DarkUNet, pairs: Iterable[Pair]) -> list[ImageScore]:
    """Scores of each pair: float images in [0, 1], all channels and pixels together."""
    scores = []
    for pair in pairs:
        with DeviceLock(str(pair.mosaic.device)).shared():
            dtype = next(model.parameters()).dtype
            output = restore(model, pair.mosaic.to(dtype)).float()
            quality = psnr_db(output, pair.target, peak=1.0)
            similarity = ssim(output, pair.target, peak=1.0)
        scores.append(ImageScore(name=pair.name, psnr_db=float(quality), ssim=float(similarity)))
    return scores


class LossWatch:
    """Follows the loss and says when it has come apart."""

    def __init__(self, smoothing_steps: int = SMOOTHING_STEPS) -> None:
        self.smoothed = math.nan
        self._steps = smoothing_steps
        self._first = math.nan
        self._lowest = math.inf
        self._seen = 0

    def healthy(self, loss: float, gradient_norm: float) -> bool:
        """Takes one step's loss and gradient norm; False if the training has diverged."""
        if not (math.isfinite(loss) and math.isfinite(gradient_norm)):
            return False
        self._seen += 1
        share = max(1 / self._seen, 1 / self._steps)
        self.smoothed = loss if self._seen == 1 else (1 - share) * self.smoothed + share * loss
        if self._seen <= self._steps:
            self._first = self.smoothed
            return True
        self._lowest = min(self._lowest, self.smoothed)
        return self.smoothed <= max(DIVERGED_FACTOR * self._lowest, self._first)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of step 0, 1, ...: a linear rise over the warm-up, then a cosine that ends at zero."""
    warmup = max(1, min(config.warmup_steps, config.steps // 5))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def restoration_loss(output: Tensor, target: Tensor, ms_ssim_weight: float) -> Tensor:
    """L1, or a blend of it with 1 - MS-SSIM (Zhao et al., "Loss Functions for Image Restoration", 2017)."""
    l1 = (output - target).abs().mean()
    if ms_ssim_weight == 0:
        return l1
    structure = 1 - ms_ssim(output, target, peak=1.0).mean()
    return (1 - ms_ssim_weight) * l1 + ms_ssim_weight * structure


@torch.no_grad()
def update_average(average: list[Tensor], parameters: list[nn.Parameter], decay: float) -> None:
    """average = decay * average + (1 - decay) * parameters, in place."""
    torch._foreach_lerp_(average, [parameter.detach() for parameter in parameters], 1 - decay)


def check(model: DarkUNet, config: TrainConfig) -> None:
    """Raises InputError where the config has impossible numbers or its crop does not fit the network."""
    if config.crop % model.size_multiple:
        multiple = model.size_multiple
        raise InputError(f"crop must be a multiple of {multiple} for this network, but is {config.crop}; change it")
    if config.steps < 1 or config.batch < 1:
        raise InputError(f"steps and batch must be at least 1, but are {config.steps} and {config.batch}; raise them")
    if not 0 <= config.ema_decay < 1 or not 0 <= config.ms_ssim_weight <= 1:
        raise InputError(
            f"ema_decay must be in [0, 1) and ms_ssim_weight in [0, 1], but are {config.ema_decay} and "
            f"{config.ms_ssim_weight}; change them"
        )
