"""One step of training as the device sees it: forward, backward, clipping, Adam, average.

Nothing here waits for the host or asks a value of the device, and every tensor that outlives a
step stays where it is, so a CUDA graph can hold the step (trials/device/cuda_graph.py); on a CPU
the very same code runs as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from space import DarkUNet
from trials.config import TrainConfig
from trials.training.flat_parameters import FlatParameters
from trials.training.losses import restoration_loss

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


class OptimizerStep:
    """A network's flat parameters on their way down, with Adam's moments and the averaged weights.

    `average`, `first` and `second` (Adam's moments) are float32 (n) in the order of `twin.values`,
    `count` is how many updates there were, and `figures` (2) the last `look`'s loss and gradient
    norm.
    """

    def __init__(self, model: DarkUNet, config: TrainConfig, precision: torch.dtype) -> None:
        """For `model`, which is on its device; its parameters become views of the flat buffer (see
        Twin).
        """
        self.twin = FlatParameters(model, precision)
        self._clip, self._ms_ssim_weight = config.grad_clip, config.ms_ssim_weight
        values = self.twin.values
        self.average = values.clone()
        self.first, self.second = torch.zeros_like(values), torch.zeros_like(values)
        self.count = torch.zeros((), device=values.device)
        self.figures = torch.zeros(2, device=values.device)
        # A GPU's kernel wants the rate in float32; a CPU's takes all digits.
        self._rate = torch.zeros(
            (), device=values.device, dtype=torch.float32 if values.is_cuda else torch.float64
        )
        self._share = torch.zeros((), device=values.device)
        self._good = torch.ones((), device=values.device)

    @property
    def lasting(self) -> list[Tensor]:
        """Every tensor that a step changes and the next one reads."""
        return [self.twin.values, self.average, self.first, self.second, self.count]

    def set(self, rate: float, decay: float) -> None:
        """The learning rate of the next step, and the average's decay."""
        self._rate.fill_(rate)
        self._share.fill_(1 - decay)

    def look(self, mosaic: Tensor, target: Tensor) -> None:
        """Loss and gradient of a batch: mosaic (b 1 h w) and target (b 3 h w), float32."""
        self.twin.refresh()
        output = self.twin.network(mosaic.to(self.twin.dtype))
        # Rows of pixels first, as the target has them: the loss's passes over both are faster.
        loss = restoration_loss(output.contiguous().float(), target, self._ms_ssim_weight)
        self.twin.slope(loss)
        with torch.no_grad():
            torch.stack(
                [loss.detach(), torch.linalg.vector_norm(self.twin.grads)], out=self.figures
            )

    @torch.no_grad()
    def take(self) -> None:
        """Follows the gradient, its norm clipped. Where loss or norm is no finite number, nothing
        is changed.
        """
        self._good.copy_(torch.isfinite(self.figures).all())
        self.count.add_(self._good)
        # Adam divides the gradient by this: as clip_grad_norm_, but in its own pass.
        excess = ((self.figures[1] + 1e-6) / self._clip).clamp_(min=1.0)
        torch._fused_adam_(
            [self.twin.values],
            [self.twin.grads],
            [self.first],
            [self.second],
            [],
            [self.count],
            lr=self._rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            grad_scale=excess,
            found_inf=1 - self._good,
        )
        self.average.lerp_(self.twin.values, self._share * self._good)
