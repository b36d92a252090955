"""One network's training, step by step: what a trial's training and a long one share."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from space import DarkUNet, InputError
from trials.config import TrainConfig
from trials.device.cuda_graph import capture
from trials.training.divergence import SMOOTHING_STEPS, DivergenceDetector
from trials.training.optimizer_step import OptimizerStep

# On a GPU losses are read back after so many steps: reading waits for the device, and the device
# then for the host.
READ_STEPS = 16


class Trainer:
    """One network's optimiser, averaged weights and loss watch.

    `precision` is what the forward pass computes in (weights, loss and optimiser stay float32),
    `smoothing_steps` over how many steps the loss is smoothed. While it trains, the parameters of
    the network are views of one flat buffer, and `average` holds their averages in the same order,
    each in its shape.

    On a CPU the loss of each step is judged before anything is learnt from it. A GPU runs ahead of
    the host: there a step whose loss or gradient is no finite number changes nothing either, but
    that a training has come apart is seen at most READ_STEPS steps later, or when `settle` is
    called.
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
        """Puts `model` on `device`, in training mode. Without `graph` a GPU gets kernel by kernel,
        for comparison.

        Raises InputError for a config that can't be met.
        """
        check(model, config)
        self.model = model.to(device).train()
        self.config = config
        self.device = device
        self.precision = precision
        self.parameters = [
            parameter for parameter in model.parameters() if parameter.requires_grad
        ]
        self.descent = OptimizerStep(self.model, config, precision)
        self.average = self.descent.twin.views(self.descent.average, self.parameters)
        self.watch = DivergenceDetector(smoothing_steps)
        self._ahead, self._graph = device.type == "cuda", graph
        self._unread = 0
        self._read_back = torch.zeros(READ_STEPS, 2, device=device)
        self._batch: tuple[Tensor, Tensor] | None = None
        self._whole_step: Callable[[], None] | None = None

    def step(self, step: int, mosaic: Tensor, target: Tensor) -> bool:
        """Step number `step` (from 0) on one batch: False, and nothing learnt, if the training is
        seen to have come apart.
        """
        if self.watch.diverged:
            return False
        self.descent.set(
            learning_rate(step, self.config), min(self.config.ema_decay, (1 + step) / (10 + step))
        )
        if self._ahead:
            return self._step_ahead(mosaic, target)
        self.descent.look(mosaic, target)
        if not self.watch.healthy(*self.descent.figures.tolist()):
            return False
        self.descent.take()
        return True

    @property
    def settled(self) -> bool:
        """Whether the device has done every step so far, and `watch` knows them."""
        return self._unread == 0

    def settle(self) -> bool:
        """Waits for the device, and judges the steps that were not read back yet; False as `step`."""
        figures = self._read_back[: self._unread].tolist() if self._unread else []
        self._unread = 0
        return (
            all(self.watch.healthy(loss, norm) for loss, norm in figures)
            and not self.watch.diverged
        )

    def _step_ahead(self, mosaic: Tensor, target: Tensor) -> bool:
        if self._batch is None:
            self._batch = mosaic.clone(), target.clone()
            work = self._look_and_take
            self._whole_step = (
                capture(work, self.descent.lasting, self.device) if self._graph else work
            )
        assert self._whole_step is not None
        for place, given in zip(self._batch, (mosaic, target), strict=True):
            place.copy_(given)
        self._whole_step()
        self._read_back[self._unread].copy_(self.descent.figures)
        self._unread += 1
        return self._unread < READ_STEPS or self.settle()

    def _look_and_take(self) -> None:
        assert self._batch is not None
        self.descent.look(*self._batch)
        self.descent.take()

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
        """Everything that the next step depends on, for a checkpoint; its tensors are the live
        ones, not copies.
        """
        self.settle()
        twin, descent = self.descent.twin, self.descent
        moments = zip(
            twin.views(descent.first, self.parameters),
            twin.views(descent.second, self.parameters),
            strict=True,
        )
        # As torch.optim.Adam tells it.
        optimiser = {
            index: {"step": descent.count, "exp_avg": one, "exp_avg_sq": two}
            for index, (one, two) in enumerate(moments)
        }
        return {
            "weights": [parameter.detach() for parameter in self.parameters],
            "average": self.average,
            "optimiser": {"state": optimiser},
            "watch": vars(self.watch),
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` gave, possibly in another process. Raises ValueError where it
        is of another network.
        """
        self._unread = 0
        moments = state["optimiser"][
            "state"
        ]  # of each parameter; none before the first step of torch's own Adam
        views = self.descent.twin.views
        weights: list[Tensor] = [parameter.detach() for parameter in self.parameters]
        kept: list[tuple[list[Tensor], list[Tensor]]] = [
            (weights, state["weights"]),
            (self.average, state["average"]),
        ]
        for flat, name in ((self.descent.first, "exp_avg"), (self.descent.second, "exp_avg_sq")):
            flat.zero_()
            kept.append(
                (
                    views(flat, self.parameters)[: len(moments)],
                    [moments[index][name] for index in range(len(moments))],
                )
            )
        for mine, theirs in kept:
            for tensor, value in zip(mine, theirs, strict=True):
                if tensor.shape != value.shape:
                    raise ValueError(
                        f"a weight of shape {tuple(value.shape)} is no {tuple(tensor.shape)}"
                    )
                tensor.copy_(value)
        self.descent.count.fill_(float(moments[0]["step"]) if moments else 0.0)
        self.watch.diverged = False
        vars(self.watch).update(state["watch"])


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of step 0, 1, ...: a linear rise over the warm-up, then a cosine that ends at zero."""
    warmup = max(1, min(config.warmup_steps, config.steps // 5))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def check(model: DarkUNet, config: TrainConfig) -> None:
    """Raises InputError where the config has impossible numbers or its crop does not fit the
    network.
    """
    if config.crop % model.size_multiple:
        multiple = model.size_multiple
        raise InputError(
            f"crop must be a multiple of {multiple} for this network, but is "
            f"{config.crop}; change it"
        )
    if config.steps < 1 or config.batch < 1:
        raise InputError(
            f"steps and batch must be at least 1, but are {config.steps} and "
            f"{config.batch}; raise them"
        )
    if not 0 <= config.ema_decay < 1 or not 0 <= config.ms_ssim_weight <= 1:
        raise InputError(
            f"ema_decay must be in [0, 1) and ms_ssim_weight in [0, 1], but are "
            f"{config.ema_decay} and "
            f"{config.ms_ssim_weight}; change them"
        )
