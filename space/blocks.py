"""The blocks that networks are made of. All take and give tensors b c h w.

Every convolution is weight-normalised while it trains (Salimans and Kingma, 2016), has 'same'
padding and stride 1; `space.fold` turns them into plain convolutions for inference.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.2  # of every LeakyReLU, as published


def convolution(
    inputs: int, outputs: int, kernel: int, *, groups: int = 1, bias: bool = True
) -> nn.Module:
    """A weight-normalised convolution, stride 1, 'same' padding."""
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
    module: nn.Module = weight_norm(conv)
    return module


class ResidualBlock(nn.Module):
    """conv3x3, LeakyReLU, conv3x3, plus the input: b c h w -> b c h w."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = convolution(channels, channels, 3)
        self.conv2 = convolution(channels, channels, 3)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.activation(self.conv1(x))) + x
        return out


class ResidualDenseBlock(nn.Module):
    """Residual dense block, no biases: b c h w -> b c h w.

    `layers` convolutions each add `growth` channels to what all before them gave; a LeakyReLU
    comes before each of them but the first and the last (so the published weights say: any other
    placing misses the published output). A 1x1 brings the sum of channels back, and the input is
    added. Source: Zhang et al., "Residual Dense Network for Image Super-Resolution", CVPR 2018,
    section 3.2.
    """

    def __init__(self, channels: int, layers: int, growth: int) -> None:
        super().__init__()
        widths = [channels + k * growth for k in range(layers)]
        self.layers = nn.ModuleList(convolution(width, growth, 3, bias=False) for width in widths)
        self.local_fusion = convolution(channels + layers * growth, channels, 1, bias=False)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        last = len(self.layers) - 1
        for index, layer in enumerate(self.layers):
            new = layer(self.activation(features) if 0 < index < last else features)
            features = torch.cat([features, new], dim=1)
        out: Tensor = self.local_fusion(features) + x
        return out


class RepBlock(nn.Module):
    """3x3, 1x1 and identity side by side, summed, then LeakyReLU: b c h w -> b c h w.

    For inference the three are one 3x3 convolution. Source: Ding et al., "RepVGG", CVPR 2021,
    section 3.3 (here with weight norm in place of batch norm, which restoration does without).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv3 = convolution(channels, channels, 3)
        self.conv1 = convolution(channels, channels, 1, bias=False)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.conv3(x) + self.conv1(x) + x)
        return out

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """The same function as one 3x3 convolution and its activation."""
        bias = self.conv3.bias
        assert isinstance(bias, Tensor)
        channels = bias.shape[0]
        weight3, weight1 = self.conv3.weight, self.conv1.weight
        assert isinstance(weight3, Tensor) and isinstance(weight1, Tensor)
        kernel = weight3.clone()
        kernel[:, :, 1, 1] += weight1[:, :, 0, 0] + torch.eye(
            channels, dtype=kernel.dtype, device=kernel.device
        )
        conv = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # no initialisation: the random state stays
            nn.Conv2d, channels, channels, 3, padding=1, dtype=kernel.dtype, device=kernel.device
        )
        assert isinstance(conv, nn.Conv2d)
        conv.weight.copy_(kernel)
        conv.bias.copy_(bias)  # type: ignore[union-attr]
        return nn.Sequential(conv, nn.LeakyReLU(SLOPE))


class ChannelShuffle(nn.Module):
    """Interleaves the channels of two groups. Source: Zhang et al., "ShuffleNet", CVPR 2018,
    section 3.1.
    """

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


def make_block(kind: str, channels: int, *, layers: int | None, growth: int | None) -> nn.Module:
    """A block of the kind that a genome names: "rdb", "residual" or "rep"."""
    if kind == "rdb":
        assert layers is not None and growth is not None
        return ResidualDenseBlock(channels, layers, growth)
    return ResidualBlock(channels) if kind == "residual" else RepBlock(channels)


class DenseChain(nn.Module):
    """Residual dense blocks in a row, all their outputs concatenated, a 1x1, plus the input.

    Source: Zhang et al., CVPR 2018, section 3.3 (global feature fusion).
    """

    def __init__(self, blocks: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.global_fusion = convolution(len(blocks) * channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        outputs, y = [], x
        for block in self.blocks:
            y = block(y)
            outputs.append(y)
        fused: Tensor = self.global_fusion(torch.cat(outputs, dim=1)) + x
        return fused
