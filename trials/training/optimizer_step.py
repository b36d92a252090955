"""One training step on the device: forward, backward, clipping, Muon and Adam, average.

Muon (muon.py) moves the convolutions' weights, Adam all else: gains, biases, slopes, and filters
too short to be a matrix. Nothing here waits for the host or reads a value from the device, and
every tensor that outlives a step stays in place, so a CUDA graph can hold the step
(trials/device/cuda_graph.py); a CPU runs the same code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from space import DarkUNet
from trials.config import TrainConfig
from trials.scoring.metrics import ms_ssim
from trials.training import muon
from trials.training.flat_parameters import FlatParameters

BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
# Filters with so few weights are Adam's: they only mix the three colours, or a cell's four pixels.
SHORT_FILTER = 4
# Below the square root of RMSE: the slope has a bound where a crop is met exactly.
RMSE_FLOOR = 1e-8


def restoration_loss(output: Tensor, target: Tensor, config: TrainConfig) -> Tensor:
    """The loss of a batch (b 3 h w): `config.loss`, or a blend of it with 1 - MS-SSIM.

    "rmse" is the mean over crops of the root of each one's mean squared error, so that noisy and
    clean crops have about the same say in the step; "l1" the mean absolute error. (The blend: Zhao
    et al., "Loss Functions for Image Restoration", 2017.)
    """
    error = output - target
    if config.loss == "rmse":
        pixels = (error.square().mean(dim=(1, 2, 3)) + RMSE_FLOOR).sqrt().mean()
    else:
        pixels = error.abs().mean()
    weight = config.ms_ssim_weight
    if weight == 0:
        return pixels
    structure = 1 - ms_ssim(output, target, peak=1.0).mean()
    return (1 - weight) * pixels + weight * structure


class OptimizerStep:
    """Muon and Adam on a network's flat parameters, with an average of the weights.

    `average`, `momentum` and `exp_avg_sq` (Adam's second moment, unused where Muon is) are float32
    (n) in the order of `flat.values`, `count` is the number of updates, `loss_and_norm` (2) the
    loss and the gradient's norm of the last `forward_backward`.
    """

    def __init__(self, model: DarkUNet, config: TrainConfig, precision: torch.dtype) -> None:
        """For `model`, which is on its device; its parameters become views of the flat buffer."""
        self.flat = FlatParameters(model, precision)
        self._config = config
        values = self.flat.values
        self.average = values.clone()
        self.momentum, self.exp_avg_sq = torch.zeros_like(values), torch.zeros_like(values)
        self.count = torch.zeros((), device=values.device)
        self.loss_and_norm = torch.zeros(2, device=values.device)
        # A GPU's kernel wants the rate in float32; a CPU's takes all digits.
        rate_dtype = torch.float32 if values.is_cuda else torch.float64
        self._rate = torch.zeros((), device=values.device, dtype=rate_dtype)
        self._average_share = torch.zeros((), device=values.device)
        self._finite = torch.ones((), device=values.device)
        self._grads = torch.zeros_like(values)  # clipped
        shapes = [shape for shape in self.flat.shapes if shape[0] > SHORT_FILTER]
        self._matrix_shapes = shapes if config.optimizer == "muon" else []
        self._adam = self._adam_parts()

    @property
    def persistent(self) -> list[Tensor]:
        """Every tensor that a step changes and the next one reads."""
        return [self.flat.values, self.average, self.momentum, self.exp_avg_sq, self.count]

    def set(self, rate: float, decay: float) -> None:
        """Sets the learning rate of the next step, and the average's decay."""
        self._rate.fill_(rate)
        self._average_share.fill_(1 - decay)

    def forward_backward(self, mosaic: Tensor, target: Tensor) -> None:
        """Loss and gradient of a batch: mosaic (b 1 h w) and target (b 3 h w), float32."""
        self.flat.refresh()
        output = self.flat.network(mosaic.to(self.flat.dtype))
        # Contiguous, as the target: the loss's passes over both are faster.
        loss = restoration_loss(output.contiguous().float(), target, self._config)
        self.flat.backward(loss)
        with torch.no_grad():
            norm = torch.linalg.vector_norm(self.flat.grads)
            torch.stack([loss.detach(), norm], out=self.loss_and_norm)

    @torch.no_grad()
    def step(self) -> None:
        """Updates parameters and average by the clipped gradient, if loss and norm are finite."""
        self._finite.copy_(torch.isfinite(self.loss_and_norm).all())
        self.count.add_(self._finite)
        # As clip_grad_norm_. A gradient that is not finite becomes zero, as nothing else would
        # keep Muon's products from spreading it; the factors below then change nothing.
        excess = ((self.loss_and_norm[1] + 1e-6) / self._config.grad_clip).clamp_(min=1.0)
        torch.div(self.flat.grads, excess, out=self._grads)
        self._grads.masked_fill_(self._finite == 0, 0.0)
        values, grads, exp_avgs, exp_avg_sqs = (
            [flat[part] for part in self._adam]
            for flat in (self.flat.values, self._grads, self.momentum, self.exp_avg_sq)
        )
        torch._fused_adam_(
            values,
            grads,
            exp_avgs,
            exp_avg_sqs,
            [],
            [self.count] * len(self._adam),
            lr=self._rate,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
            found_inf=1 - self._finite,
        )
        for shape in self._matrix_shapes:
            self._muon(shape)
        self.average.lerp_(self.flat.values, self._average_share * self._finite)

    def _muon(self, shape: tuple[int, int]) -> None:
        """Nesterov's momentum, made orthogonal, for all convolutions of a shape."""
        flats = (self.flat.values, self._grads, self.momentum)
        weights, grads, momentum = (self.flat.matrices(flat, shape) for flat in flats)
        momentum.lerp_(grads, (1 - muon.MOMENTUM) * self._finite)
        update = muon.orthogonal(grads.lerp(momentum, muon.MOMENTUM))
        rate = -muon.scale(*shape) * self._finite * self._rate
        weights.addcmul_(update, rate.float())

    def _adam_parts(self) -> list[slice]:
        """What of the flat tensors is Adam's: before and behind Muon's, which is one piece."""
        size = self.flat.values.numel()
        if not self._matrix_shapes:
            return [slice(0, size)]
        ends = []
        for length, filters in self._matrix_shapes:
            count, start = self.flat.shapes[length, filters]
            ends += [start, start + count * filters * length]
        parts = slice(0, min(ends)), slice(max(ends), size)
        return [part for part in parts if part.start < part.stop]
