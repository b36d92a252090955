"""The modules of blocks and their chains, all b c h w -> b c h w.

Every convolution is weight-normalised while it trains (Salimans and Kingma, 2016), has 'same'
padding and stride 1; `space.fold` turns them into plain convolutions for inference.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from space.blocks import Block, Convolution
from space.parts import Part

SLOPE = 0.2  # of every LeakyReLU, as published


@torch.no_grad()
def plain_convolution(conv: nn.Conv2d) -> nn.Conv2d:
    """The same convolution without weight norm, its weights copied.

    Made anew: torch's own remove_parametrizations works on the class, which a deep copy shares
    with its original.
    """
    weight = conv.weight
    # Without initialisation, so that the random state stays.
    plain = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        nn.Conv2d,
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size[0],
        padding=conv.kernel_size[0] // 2,
        groups=conv.groups,
        bias=conv.bias is not None,
        dtype=weight.dtype,
        device=weight.device,
    )
    assert isinstance(plain, nn.Conv2d)
    plain.weight.copy_(weight)
    if conv.bias is not None and plain.bias is not None:
        plain.bias.copy_(conv.bias)
    return plain


@runtime_checkable
class Foldable(Protocol):
    """A block that is deployed in another form."""

    def folded(self) -> nn.Module:
        """The same function with fewer convolutions."""


class ResidualBlock(nn.Module):
    """conv3x3, LeakyReLU, conv3x3, plus the input."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv1, conv2
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.activation(self.conv1(x))) + x
        return out


class ResidualDenseBlock(nn.Module):
    """Residual dense block, no biases.

    Its layers each add channels to all before them; a LeakyReLU comes before each but the first
    and the last (any other placing misses the published output). A 1x1 reduces the channels again,
    and the input is added. Source: Zhang et al., "Residual Dense Network for Image
    Super-Resolution", CVPR 2018, section 3.2.
    """

    def __init__(self, *convolutions: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(convolutions[:-1])
        self.local_fusion = convolutions[-1]
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
    """3x3, 1x1 and identity in parallel, summed, then LeakyReLU; one 3x3 for inference.

    Source: Ding et al., "RepVGG", CVPR 2021, section 3.3 (weight norm in place of batch norm).
    """

    def __init__(self, conv3: nn.Conv2d, conv1: nn.Conv2d) -> None:
        super().__init__()
        self.conv3, self.conv1 = conv3, conv1
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.conv3(x) + self.conv1(x) + x)
        return out

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """The same function as one 3x3 convolution and its activation."""
        conv = plain_convolution(self.conv3)
        weight1 = self.conv1.weight
        identity = torch.eye(conv.out_channels, dtype=weight1.dtype, device=weight1.device)
        conv.weight[:, :, 1, 1] += weight1[:, :, 0, 0] + identity
        return nn.Sequential(conv, self.activation)


class ChannelShuffle(nn.Module):
    """Interleaves two groups of channels (Zhang et al., "ShuffleNet", CVPR 2018, section 3.1)."""

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class DenseChain(nn.Module):
    """Residual dense blocks in a row, all their outputs concatenated, a 1x1, plus the input.

    Source: Zhang et al., CVPR 2018, section 3.3 (global feature fusion).
    """

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(modules[:-1])
        self.global_fusion = modules[-1]

    def forward(self, x: Tensor) -> Tensor:
        outputs, y = [], x
        for block in self.blocks:
            y = block(y)
            outputs.append(y)
        fused: Tensor = self.global_fusion(torch.cat(outputs, dim=1)) + x
        return fused


MODULES: dict[str, type[nn.Module]] = {
    "rdb": ResidualDenseBlock,
    "residual": ResidualBlock,
    "rep": RepBlock,
}
"""The module of each kind in space.blocks.BLOCKS; a Foldable one is deployed folded."""


def build(layer: Convolution | Block) -> nn.Module:
    """The module of a part's layer, initialised from torch's global generator."""
    if isinstance(layer, Block):
        return MODULES[layer.kind](*map(build, layer.convolutions))
    inputs, outputs, kernel, groups, bias = layer[:5]
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=bias)
    weight_norm(conv)
    return conv


def build_layers(part: Part) -> list[nn.Module]:
    """The modules of a part's layers, in order."""
    return [build(layer) for layer in part.layers]
