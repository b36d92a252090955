"""The state of one network's training, and its step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from space import DarkUNet, InputError
from trials.config import LOSSES, OPTIMIZERS, TrainConfig
from trials.device import capture
from trials.training.divergence import SMOOTHING_STEPS, DivergenceDetector
from trials.training.optimizer_step import OptimizerStep

# On a GPU losses are read after so many steps: to read one, host and device wait for each other.
READ_STEPS = 16


class Trainer:
    """One network's optimiser, averaged weights and divergence detector.

    `precision` is the dtype of the forward pass (weights, loss and optimiser are float32); the
    loss is smoothed over `smoothing_steps`. While it trains, the network's parameters are views of
    one flat buffer, and `average` holds their averages in the same order and shapes.

    On a CPU the loss of each step is checked before it changes anything. A GPU runs ahead of the
    host: a step whose loss or gradient is not finite changes nothing there either, but a
    divergence is noticed up to READ_STEPS steps later, or when `settle` is called.
    """

    def __init__(
        self,
        model: DarkUNet,
        config: TrainConfig,
        device: torch.device,
        *,
        precision: torch.dtype = torch.float32,
        smoothing_steps: int = SMOOTHING_STEPS,
        graph: bool = True,
    ) -> None:
        """Puts `model` on `device`, in training mode; without `graph` a GPU runs op by op.

        Raises InputError for an impossible config.
        """
        check(model, config)
        self.model = model.to(device).train()
        self.config = config
        self.device = device
        self.parameters = [one for one in model.parameters() if one.requires_grad]
        self.optimizer = OptimizerStep(self.model, config, precision)
        self.average = self.optimizer.flat.views(self.optimizer.average, self.parameters)
        self.divergence = DivergenceDetector(smoothing_steps)
        self._ahead, self._graph = device.type == "cuda", graph
        self._unread = 0
        self._losses_and_norms = torch.zeros(READ_STEPS, 2, device=device)
        self._batch: tuple[Tensor, Tensor] | None = None
        self._captured: Callable[[], None] | None = None

    def step(
        self, step: int, mosaic: Tensor, target: Tensor, *, cooling_to: int | None = None
    ) -> bool:
        """Does step `step` (0, 1, ...) on one batch; once diverged, nothing and returns False.

        With `cooling_to` the step is one of the cool-down that ends at that step.
        """
        if self.divergence.diverged:
            return False
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        self.optimizer.set(learning_rate(step, self.config, cooling_to), decay)
        if self._ahead:
            return self._step_ahead(mosaic, target)
        self.optimizer.forward_backward(mosaic, target)
        if not self.divergence.update(*self.optimizer.loss_and_norm.tolist()):
            return False
        self.optimizer.step()
        return True

    @property
    def settled(self) -> bool:
        """Whether the device has done every step so far, and `divergence` knows them."""
        return self._unread == 0

    def settle(self) -> bool:
        """Waits for the device and checks the steps that were not read yet; returns as `step`."""
        unread = self._losses_and_norms[: self._unread].tolist() if self._unread else []
        self._unread = 0
        healthy = all(self.divergence.update(loss, norm) for loss, norm in unread)
        return healthy and not self.divergence.diverged

    def _step_ahead(self, mosaic: Tensor, target: Tensor) -> bool:
        if self._batch is None:
            self._batch = mosaic.clone(), target.clone()
            work = self._whole_step
            if self._graph:
                work = capture(work, self.optimizer.persistent, self.device)
            self._captured = work
        assert self._captured is not None
        for place, value in zip(self._batch, (mosaic, target), strict=True):
            place.copy_(value)
        self._captured()
        self._losses_and_norms[self._unread].copy_(self.optimizer.loss_and_norm)
        self._unread += 1
        return self._unread < READ_STEPS or self.settle()

    def _whole_step(self) -> None:
        assert self._batch is not None
        self.optimizer.forward_backward(*self._batch)
        self.optimizer.step()

    @torch.no_grad()
    def put_average(self, model: DarkUNet) -> None:
        """Gives `model`, this trainer's or one of the same genome, the averaged weights."""
        parameters = [one for one in model.parameters() if one.requires_grad]
        for parameter, mean in zip(parameters, self.average, strict=True):
            parameter.copy_(mean)

    def averaged(self) -> DarkUNet:
        """A copy of the network with the averaged weights, in eval mode."""
        model = copy.deepcopy(self.model)
        self.put_average(model)
        return model.eval()

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, for a checkpoint: live tensors, not copies."""
        self.settle()
        optimizer = self.optimizer
        return {
            "weights": [parameter.detach() for parameter in self.parameters],
            "average": self.average,
            "momentum": optimizer.flat.views(optimizer.momentum, self.parameters),
            "exp_avg_sq": optimizer.flat.views(optimizer.exp_avg_sq, self.parameters),
            "count": optimizer.count,
            "divergence": vars(self.divergence),
        }

    def snapshot(self) -> dict[str, Any]:
        """A copy of `state`."""
        return copy.deepcopy(self.state())

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`; ValueError where it is another network's."""
        self._unread = 0
        for name, tensors in self.state().items():
            if name not in ("count", "divergence"):
                for tensor, value in zip(tensors, state[name], strict=True):
                    if tensor.shape != value.shape:
                        shapes = f"{tuple(value.shape)}, not {tuple(tensor.shape)}"
                        rule = "a checkpoint must be of the same network"
                        raise ValueError(f"{rule}, but has a weight of shape {shapes}")
                    tensor.copy_(value)
        self.optimizer.count.copy_(state["count"])
        vars(self.divergence).update(state["divergence"])


def learning_rate(step: int, config: TrainConfig, cooling_to: int | None = None) -> float:
    """The rate of step 0, 1, ...: a linear warm-up, then constant; in a cool-down falling to zero.

    (Zhai et al., "Scaling Vision Transformers", CVPR 2022, section 3.4: one long training, cooled
    down wherever it is to be judged.)
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warmup_steps))
    if cooling_to is None:
        return rate
    return rate * (cooling_to - step) / max(1, cooling_to - cooldown_start(cooling_to, config))


def cooldown_start(end: int, config: TrainConfig) -> int:
    """The step where the cool-down begins of a training, or rung, that ends at step `end`."""
    return end - round(config.cooldown * end)


def check(model: DarkUNet, config: TrainConfig) -> None:
    """Raises InputError for impossible numbers, and for a crop that does not fit the network."""
    if config.crop % model.size_multiple:
        rule = f"crop must be a multiple of {model.size_multiple} for this network"
        raise InputError(f"{rule}, but is {config.crop}; change it")
    if config.steps < 1 or config.batch < 1:
        values = f"{config.steps} and {config.batch}"
        raise InputError(f"steps and batch must be at least 1, but are {values}; raise them")
    for name, known in (("optimizer", OPTIMIZERS), ("loss", LOSSES)):
        if (value := getattr(config, name)) not in known:
            raise InputError(
                f"{name} must be one of {', '.join(known)}, but is {value!r}; choose one"
            )
    if not 0 <= config.cooldown <= 1:
        raise InputError(f"cooldown must be in [0, 1], but is {config.cooldown}; change it")
    if not 0 <= config.ema_decay < 1 or not 0 <= config.ms_ssim_weight <= 1:
        values = f"{config.ema_decay} and {config.ms_ssim_weight}"
        rule = "ema_decay must be in [0, 1) and ms_ssim_weight in [0, 1]"
        raise InputError(f"{rule}, but are {values}; change them")
