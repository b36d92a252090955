"""One training step on the device: forward, backward, clipping, Adam, average.

Nothing here waits for the host or reads a value from the device, and every tensor that outlives a
step stays in place, so a CUDA graph can hold the step (trials/device/cuda_graph.py); a CPU runs
the same code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from space import DarkUNet
from trials.config import TrainConfig
from trials.scoring.metrics import ms_ssim
from trials.training.flat_parameters import FlatParameters

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8


def restoration_loss(output: Tensor, target: Tensor, ms_ssim_weight: float) -> Tensor:
    """L1, or a blend of it with 1 - MS-SSIM (Zhao et al., "Loss Functions for Image Restoration",
    2017).
    """
    l1 = (output - target).abs().mean()
    if ms_ssim_weight == 0:
        return l1
    structure = 1 - ms_ssim(output, target, peak=1.0).mean()
    return (1 - ms_ssim_weight) * l1 + ms_ssim_weight * structure


class OptimizerStep:
    """Adam on a network's flat parameters, with an average of the weights.

    `average`, `exp_avg` and `exp_avg_sq` (Adam's moments) are float32 (n) in the order of
    `flat.values`, `count` is the number of updates, `loss_and_norm` (2) the loss and the
    gradient's norm of the last `forward_backward`.
    """

    def __init__(self, model: DarkUNet, config: TrainConfig, precision: torch.dtype) -> None:
        """For `model`, which is on its device; its parameters become views of the flat buffer."""
        self.flat = FlatParameters(model, precision)
        self._clip, self._ms_ssim_weight = config.grad_clip, config.ms_ssim_weight
        values = self.flat.values
        self.average = values.clone()
        self.exp_avg, self.exp_avg_sq = torch.zeros_like(values), torch.zeros_like(values)
        self.count = torch.zeros((), device=values.device)
        self.loss_and_norm = torch.zeros(2, device=values.device)
        # A GPU's kernel wants the rate in float32; a CPU's takes all digits.
        rate_dtype = torch.float32 if values.is_cuda else torch.float64
        self._rate = torch.zeros((), device=values.device, dtype=rate_dtype)
        self._average_share = torch.zeros((), device=values.device)
        self._finite = torch.ones((), device=values.device)

    @property
    def persistent(self) -> list[Tensor]:
        """Every tensor that a step changes and the next one reads."""
        return [self.flat.values, self.average, self.exp_avg, self.exp_avg_sq, self.count]

    def set(self, rate: float, decay: float) -> None:
        """Sets the learning rate of the next step, and the average's decay."""
        self._rate.fill_(rate)
        self._average_share.fill_(1 - decay)

    def forward_backward(self, mosaic: Tensor, target: Tensor) -> None:
        """Loss and gradient of a batch: mosaic (b 1 h w) and target (b 3 h w), float32."""
        self.flat.refresh()
        output = self.flat.network(mosaic.to(self.flat.dtype))
        # Contiguous, as the target: the loss's passes over both are faster.
        loss = restoration_loss(output.contiguous().float(), target, self._ms_ssim_weight)
        self.flat.backward(loss)
        with torch.no_grad():
            norm = torch.linalg.vector_norm(self.flat.grads)
            torch.stack([loss.detach(), norm], out=self.loss_and_norm)

    @torch.no_grad()
    def step(self) -> None:
        """Updates parameters and average by the clipped gradient, if loss and norm are finite."""
        self._finite.copy_(torch.isfinite(self.loss_and_norm).all())
        self.count.add_(self._finite)
        # Adam divides the gradient by this: as clip_grad_norm_, but in its own pass.
        excess = ((self.loss_and_norm[1] + 1e-6) / self._clip).clamp_(min=1.0)
        torch._fused_adam_(
            [self.flat.values],
            [self.flat.grads],
            [self.exp_avg],
            [self.exp_avg_sq],
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
            found_inf=1 - self._finite,
        )
        self.average.lerp_(self.flat.values, self._average_share * self._finite)
