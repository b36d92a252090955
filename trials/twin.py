"""A network's parameters in one flat buffer, and a plain twin of the network that computes the training step.

As it is saved, every convolution has weight norm, and each would cost a dozen small operations a step: norm, cast, changes
of layout, and all of that once more on the way back; then optimiser, clipping and average walk over hundreds of small
tensors. Here the parameters lie in one float32 buffer, convolutions with filters of the same length side by side, so
that a handful of operations normalises all of them into the twin's plain weights, in the dtype and layout that the
convolutions want. Only the order of a few sums is another than weight norm's own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from space import DarkUNet

_normed = torch.ops.aten._weight_norm_interface
_normed_backward = torch.ops.aten._weight_norm_interface_backward


@dataclass(frozen=True)
class _Filters:
    """Convolutions whose filters have the same length: their rows of the flat buffers, one row a filter."""

    direction: Tensor  # rows x length, float32, of the parameters; weight norm's v
    size: Tensor  # rows x 1, weight norm's g
    weight: Tensor  # rows x length, of the twin
    direction_slope: Tensor
    size_slope: Tensor
    weight_slope: Tensor  # rows x length, float32: the loss's gradient for `weight`


class Twin:
    """The flat parameters of a network, their gradient, and the network that computes with them.

    `values` and `slopes` are float32 (n); after this the parameters of `model` are views of `values`, so whatever
    changes one changes the other. `network` is its plain twin in `dtype` (channels_last unless that is float32), whose
    weights are as old as the last `refresh`.
    """

    def __init__(self, model: DarkUNet, dtype: torch.dtype) -> None:
        """Moves the parameters of `model`, which is on its device, into the flat buffer; their values stay."""
        self.dtype = dtype
        last = dtype != torch.float32
        convolutions = [module for module in model.modules() if parametrize.is_parametrized(module)]
        convolutions.sort(key=_length)  # stable
        normed = [_norm_of(module) for module in convolutions]
        known = {id(parameter) for pair in normed for parameter in pair}
        others = [parameter for parameter in model.parameters() if id(parameter) not in known]
        ordered = [v for _, v in normed] + [g for g, _ in normed] + others
        device = ordered[0].device
        self.values = torch.empty(sum(parameter.numel() for parameter in ordered), device=device)
        self.slopes = torch.zeros_like(self.values)
        weights = sum(v.numel() for _, v in normed)
        sizes = sum(g.numel() for g, _ in normed)
        self._plain = torch.empty(self.values.numel() - sizes, dtype=dtype, device=device)
        self._plain_slopes = torch.zeros(weights, device=device)
        self._others = slice(weights + sizes, None), slice(weights, None)
        self._places: dict[int, tuple[int, bool]] = {}
        with torch.no_grad():
            start = 0
            for parameter in ordered:
                self._places[id(parameter)] = start, last
                view = _shaped(self.values, start, parameter.shape, last)
                view.copy_(parameter)
                parameter.data = view
                start += parameter.numel()
        self._filters = self._groups(convolutions, weights)
        self.network = copy.deepcopy(model).train()
        self._leaves: list[nn.Parameter] = []
        self._slope_views: list[Tensor] = []
        self._put_plain(model, others, weights, sizes)
        self.refresh()

    def views(self, flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The parts of `flat` (n, as `values`) that belong to `parameters` of the model, in their shapes."""
        return [_shaped(flat, self._places[id(one)][0], one.shape, self._places[id(one)][1]) for one in parameters]

    @torch.no_grad()
    def refresh(self) -> None:
        """The twin's weights from `values`."""
        for group in self._filters:
            group.weight.copy_(_normed(group.direction, group.size, 0)[0])
        self._plain[self._others[1]].copy_(self.values[self._others[0]])

    def slope(self, loss: Tensor) -> None:
        """Puts the gradient of `loss`, which `network` computed since the last `refresh`, into `slopes`."""
        found = torch.autograd.grad(loss, self._leaves)
        with torch.no_grad():
            torch._foreach_copy_(self._slope_views, list(found))
            for group in self._filters:
                norms = torch.linalg.vector_norm(group.direction, dim=1, keepdim=True)
                v, g = _normed_backward(group.weight_slope, group.direction, group.size, norms, 0)
                group.direction_slope.copy_(v)
                group.size_slope.copy_(g)

    def _groups(self, convolutions: list[nn.Module], weights: int) -> list[_Filters]:
        groups = []
        row = start = 0
        for length in sorted({_length(module) for module in convolutions}):
            rows = sum(_norm_of(module)[0].numel() for module in convolutions if _length(module) == length)
            of_v, of_g = slice(start, start + rows * length), slice(weights + row, weights + row + rows)
            groups.append(_Filters(
                self.values[of_v].view(rows, length), self.values[of_g].view(rows, 1), self._plain[of_v].view(rows, length),
                self.slopes[of_v].view(rows, length), self.slopes[of_g].view(rows, 1), self._plain_slopes[of_v].view(rows, length),
            ))  # fmt: skip
            row, start = row + rows, start + rows * length
        return groups

    def _put_plain(self, model: DarkUNet, others: list[nn.Parameter], weights: int, sizes: int) -> None:
        """Gives `network` plain convolutions and parameters that are views of the plain buffer."""
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for name, module in list(model.named_modules()):
            if not parametrize.is_parametrized(module):
                continue
            assert isinstance(module, nn.Conv2d)
            v = _norm_of(module)[1]
            start, last = self._places[id(v)]
            plain = nn.utils.skip_init(  # type: ignore[no-untyped-call]  # no initialisation: the random state stays
                nn.Conv2d, module.in_channels, module.out_channels, module.kernel_size[0], padding=module.kernel_size[0] // 2,
                groups=module.groups, bias=module.bias is not None, device=v.device,
            )  # fmt: skip
            plain.weight = self._leaf(_shaped(self._plain, start, v.shape, last), _shaped(self._plain_slopes, start, v.shape, last))
            parent, _, own = name.rpartition(".")
            setattr(self.network.get_submodule(parent), own, plain)
        for parameter in others:
            start, last = self._places[id(parameter)]
            parent, _, own = names[id(parameter)].rpartition(".")
            value = _shaped(self._plain, start - sizes, parameter.shape, last)
            leaf = self._leaf(value, _shaped(self.slopes, start, parameter.shape, last))
            setattr(self.network.get_submodule(parent), own, leaf)

    def _leaf(self, value: Tensor, slope: Tensor) -> nn.Parameter:
        leaf = nn.Parameter(value)
        self._leaves.append(leaf)
        self._slope_views.append(slope)
        return leaf


def _norm_of(module: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight norm's g and v of a convolution."""
    return module.get_parameter("parametrizations.weight.original0"), module.get_parameter("parametrizations.weight.original1")


def _length(module: nn.Module) -> int:
    """Weights in one filter."""
    v = _norm_of(module)[1]
    return v.numel() // v.shape[0]


def _shaped(flat: Tensor, start: int, shape: torch.Size, last: bool) -> Tensor:
    """The tensor of `shape` that begins at `start`; where `last`, one of four axes with its channels last."""
    part = flat[start : start + shape.numel()]
    if last and len(shape) == 4:
        outputs, inputs, height, width = shape
        return part.view(outputs, height, width, inputs).permute(0, 3, 1, 2)
    return part.view(shape)
