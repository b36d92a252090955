"""A network's parameters in one flat buffer, and its copy without weight norm that uses them.

Weight norm costs a dozen small operations per convolution and step: norm, cast, changes of layout,
and all of that again backward; then optimiser, clipping and average walk over hundreds of small
tensors. Here the parameters lie in one float32 buffer, convolutions of the same shape side
by side, so that a handful of operations normalises all of them into plain weights, in
the dtype and layout that the convolutions want. Only the order of a few sums differs from weight
norm's own.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from space import DarkUNet

# Weights begin at multiples of 128 bytes, for the fastest kernels; gaps are zero.
ALIGNED = 64

_normed = torch.ops.aten._weight_norm_interface
_normed_backward = torch.ops.aten._weight_norm_interface_backward


@dataclass(frozen=True)
class _Filters:
    """Convolutions with filters of the same length, as rows of the flat buffers, one a filter."""

    v: Tensor  # rows x length, float32: weight norm's v
    g: Tensor  # rows x 1: weight norm's g
    weight: Tensor  # rows x length, of `network`
    v_grad: Tensor
    g_grad: Tensor
    weight_grad: Tensor  # rows x length, float32


class FlatParameters:
    """The flat parameters of a network, their gradient, and the network that computes with them.

    `values` and `grads` are float32 (n, a few gaps of zeros included); the parameters of `model`
    become views of `values`. `network` is the same network without weight norm, in `dtype`
    (channels_last unless that is float32); `refresh` brings its weights up to date.
    """

    def __init__(self, model: DarkUNet, dtype: torch.dtype) -> None:
        """Moves the parameters of `model`, which is on its device, into the flat buffer."""
        self.dtype = dtype
        convolutions = [one for one in model.modules() if parametrize.is_parametrized(one)]
        convolutions.sort(key=_shape)  # stable
        normed = [_norm_of(module) for module in convolutions]
        normed_ids = {id(parameter) for pair in normed for parameter in pair}
        others = [one for one in model.parameters() if id(one) not in normed_ids]
        # All v first, then all g, then all else: the plain buffer is the same without the g.
        self._starts: dict[int, int] = {}
        end = length = 0
        for module, (_, v) in zip(convolutions, normed, strict=True):
            end, length = (end if _length(module) == length else _aligned(end)), _length(module)
            end = self._place(v, end)
        weights = g_end = _aligned(end)
        for g, _ in normed:
            g_end = self._place(g, g_end)
        end = _aligned(g_end)
        g_length = end - weights
        for parameter in others:
            end = _aligned(self._place(parameter, end))
        device = next(model.parameters()).device
        self.values = torch.zeros(end, device=device)
        self.grads = torch.zeros_like(self.values)
        self._plain = torch.zeros(end - g_length, dtype=dtype, device=device)
        self._plain_grads = torch.zeros(weights, device=device)
        self._others = slice(weights + g_length, None), slice(weights, None)
        self.shapes: dict[tuple[int, int], tuple[int, int]] = {}
        """How many convolutions there are with (weights in a filter, filters), side by side from
        where on.
        """
        for module in convolutions:
            shape = _shape(module)
            count, first = self.shapes.get(shape, (0, self._starts[id(_norm_of(module)[1])]))
            self.shapes[shape] = count + 1, first
        with torch.no_grad():
            for parameter in model.parameters():
                view = self._view(self.values, parameter)
                view.copy_(parameter)
                parameter.data = view
        self._filters = self._groups(convolutions)
        self._norms: list[Tensor] = []  # of each group's rows, rows x 1
        self.network = copy.deepcopy(model).train()
        self._leaves: list[nn.Parameter] = []
        self._grad_views: list[Tensor] = []
        self._remove_weight_norm(model, others, g_length)
        self.refresh()

    def views(self, flat: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The parts of `flat` (n, as `values`) of the model's `parameters`, in their shapes."""
        return [self._view(flat, parameter) for parameter in parameters]

    @torch.no_grad()
    def refresh(self) -> None:
        """Computes the weights of `network` from `values`."""
        self._norms = []
        for group in self._filters:
            weight, norms = _normed(group.v, group.g, 0)
            group.weight.copy_(weight)
            self._norms.append(norms)
        self._plain[self._others[1]].copy_(self.values[self._others[0]])

    def backward(self, loss: Tensor) -> None:
        """Puts the gradient of `loss`, computed with `network` since `refresh`, into `grads`."""
        grads = torch.autograd.grad(loss, self._leaves)
        with torch.no_grad():
            torch._foreach_copy_(self._grad_views, list(grads))
            for group, norms in zip(self._filters, self._norms, strict=True):
                v, g = _normed_backward(group.weight_grad, group.v, group.g, norms, 0)
                group.v_grad.copy_(v)
                group.g_grad.copy_(g)

    def matrices(self, flat: Tensor, shape: tuple[int, int]) -> Tensor:
        """The convolutions of a shape of `shapes` in `flat` (n, as `values`): k filters length.

        In channels_last the weights of a filter are in another order, for all filters the same.
        """
        length, filters = shape
        count, start = self.shapes[shape]
        return flat[start : start + count * filters * length].view(count, filters, length)

    def _place(self, parameter: nn.Parameter, start: int) -> int:
        self._starts[id(parameter)] = start
        return start + parameter.numel()

    def _view(self, flat: Tensor, parameter: nn.Parameter, shift: int = 0) -> Tensor:
        """A parameter's part of `flat`, in its shape; `flat` lacks `shift` values before it."""
        start = self._starts[id(parameter)] - shift
        part = flat[start : start + parameter.numel()]
        if parameter.ndim == 4 and self.dtype != torch.float32:
            outputs, inputs, height, width = parameter.shape
            return part.view(outputs, height, width, inputs).permute(0, 3, 1, 2)
        return part.view(parameter.shape)

    def _groups(self, convolutions: list[nn.Module]) -> list[_Filters]:
        groups = []
        for length in sorted({_length(module) for module in convolutions}):
            norms = [_norm_of(module) for module in convolutions if _length(module) == length]
            rows = sum(g.numel() for g, _ in norms)
            first_g, first_v = (self._starts[id(parameter)] for parameter in norms[0])
            of_v, of_g = slice(first_v, first_v + rows * length), slice(first_g, first_g + rows)
            groups.append(
                _Filters(
                    self.values[of_v].view(rows, length),
                    self.values[of_g].view(rows, 1),
                    self._plain[of_v].view(rows, length),
                    self.grads[of_v].view(rows, length),
                    self.grads[of_g].view(rows, 1),
                    self._plain_grads[of_v].view(rows, length),
                )
            )
        return groups

    def _remove_weight_norm(
        self, model: DarkUNet, others: list[nn.Parameter], g_length: int
    ) -> None:
        """Gives `network` plain convolutions; its parameters are views of the plain buffer."""
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        for name, module in list(model.named_modules()):
            if not parametrize.is_parametrized(module):
                continue
            assert isinstance(module, nn.Conv2d)
            v = _norm_of(module)[1]
            # No initialisation, so that the random state stays.
            plain = nn.utils.skip_init(  # type: ignore[no-untyped-call]
                nn.Conv2d,
                module.in_channels,
                module.out_channels,
                module.kernel_size[0],
                padding=module.kernel_size[0] // 2,
                groups=module.groups,
                bias=module.bias is not None,
                device=v.device,
            )
            plain.weight = self._leaf(self._view(self._plain, v), self._view(self._plain_grads, v))
            parent, _, own = name.rpartition(".")
            setattr(self.network.get_submodule(parent), own, plain)
        for parameter in others:
            parent, _, own = names[id(parameter)].rpartition(".")
            value = self._view(self._plain, parameter, g_length)
            leaf = self._leaf(value, self._view(self.grads, parameter))
            setattr(self.network.get_submodule(parent), own, leaf)

    def _leaf(self, value: Tensor, grad: Tensor) -> nn.Parameter:
        """A parameter of `network`, whose gradient goes to `grad`."""
        leaf = nn.Parameter(value)
        self._leaves.append(leaf)
        self._grad_views.append(grad)
        return leaf


def _norm_of(module: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight norm's g and v of a convolution."""
    g, v = (f"parametrizations.weight.original{index}" for index in range(2))
    return module.get_parameter(g), module.get_parameter(v)


def _length(module: nn.Module) -> int:
    """Weights in one filter."""
    return _shape(module)[0]


def _shape(module: nn.Module) -> tuple[int, int]:
    """Weights in one filter, and filters."""
    v = _norm_of(module)[1]
    return v.numel() // v.shape[0], v.shape[0]


def _aligned(start: int) -> int:
    return -(-start // ALIGNED) * ALIGNED
