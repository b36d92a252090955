"""First gains and biases that fit the data, so that no network loses its steps by a poor start.

torch's own initial filters have a norm of 0.58 whatever comes before them: a signal shrinks with
every convolution, and a deep network has to grow its gains before it learns anything else. So the
first gains and biases are set by one batch: every convolution's outputs get mean zero and variance
one, channel by channel, the last one's the mean and variance of the pictures. Source: Salimans and
Kingma, "Weight Normalization", NeurIPS 2016, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from space import DarkUNet

# Crops that the statistics are of: some hundred values even at a branch's 64x.
CROPS = 16
# A channel that varies less, as in a black photo, is brought up by so much and no further.
SMALLEST_DEVIATION = 1e-2


@torch.no_grad()
def fit_first_layers(model: DarkUNet, mosaic: Tensor, target: Tensor) -> None:
    """Sets gains and biases of `model`, which has weight norm, by mosaics (b 1 h w) in [0, 1] and
    their pictures (b 3 h w), on its device; v stays. It is in training mode afterwards.

    Where they are no numbers, nothing changes.
    """
    fitted: list[nn.Conv2d] = []

    def fit(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.Conv2d)
        fitted.append(module)
        mean = output.mean(dim=(0, 2, 3), keepdim=True)
        if module.bias is None:  # nothing can move the mean: it counts as a part of the signal
            mean = torch.zeros_like(mean)
        deviation = (output - mean).square().mean(dim=(0, 2, 3), keepdim=True).sqrt()
        known = deviation.isfinite()
        factor = (1 / deviation.clamp(min=SMALLEST_DEVIATION)).where(known, 1.0)
        mean = mean.where(known, 0.0)
        _rescale(module, -mean.flatten(), factor.flatten())
        return (output - mean) * factor

    convolutions = [one for one in model.modules() if parametrize.is_parametrized(one)]
    hooks = [one.register_forward_hook(fit) for one in convolutions]
    try:
        model.train()(mosaic)
    finally:
        for hook in hooks:
            hook.remove()
    last = fitted[-1]
    mean, deviation = target.mean(), target.std()
    known = deviation.isfinite()
    deviation = deviation.clamp(min=SMALLEST_DEVIATION).where(known, 1.0)
    _rescale(last, torch.zeros_like(mean), deviation)
    if last.bias is not None:
        last.bias.add_(mean.where(known, 0.0))


def _rescale(convolution: nn.Conv2d, shift: Tensor, factor: Tensor) -> None:
    """Makes its outputs (output + shift) * factor, each a value of all channels or of each."""
    gain, _ = convolution.parametrizations.weight.parameters()  # type: ignore[union-attr]
    gain.mul_(factor.reshape(-1, 1, 1, 1))
    if convolution.bias is not None:
        convolution.bias.add_(shift).mul_(factor)
