"""The form in which a network is deployed: folded, with its dtype, memory format and runtime.

A study has one such form, and all its networks are timed and scored in it, the published ones too.
Where a choice depends on the network (streams; memory format "auto") the faster form is taken.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from space import DarkUNet, InputError, fold
from space.branches import DeepBranch, Parallel
from trials.config import LatencyConfig
from trials.device.cuda_graph import capture
from trials.device.precision import DTYPES
from trials.latency.runtimes import AUTO, RUNTIMES, settled_runtime

MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
# What the keys of a LatencyConfig may be.
CHOICES = {
    "dtype": tuple(DTYPES),
    "memory_format": (*MEMORY_FORMATS, AUTO),
    "runtime": (AUTO, *RUNTIMES),
}
# A form must be faster by more than this share, in so many runs, to replace the usual one.
_CLEARLY, _TRIAL_RUNS = 0.03, 8
# Largest piece of memory, in bytes, that keeps two buffers of a round apart.
_GAP = 2**20


@dataclass(frozen=True, kw_only=True)
class Form:
    """What was deployed in the end; `streams`: whether branches run on streams of their own."""

    dtype: str
    memory_format: str
    runtime: str
    streams: bool


class Deployed:
    """A network as it is deployed on `device`, for mosaics b 1 `height` `width` there.

    `load` brings a mosaic to where the network reads it, `work` is the network; calling does both
    and returns sRGB, b 3 H W in [0, 1], of the form's dtype. A CUDA graph writes every picture to
    the same place.
    """

    def __init__(
        self, model: DarkUNet, form: Form, device: torch.device, height: int, width: int
    ) -> None:
        self.form = form
        self.device = device
        self.dtype = DTYPES[form.dtype]
        self.network = forked(model) if form.streams else model
        self.weights_mib = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
        memory_format = MEMORY_FORMATS[form.memory_format]
        self.network = self.network.to(device, self.dtype).to(memory_format=memory_format)  # type: ignore[call-overload]
        self._mosaic = torch.rand(1, 1, height, width).to(device, self.dtype)
        self._picture: Tensor
        self._spacers: list[Tensor] = []
        runtime = RUNTIMES[form.runtime]
        self._run = runtime.prepare(self.network, self._mosaic)
        self._has_graph = runtime.uses_graph and device.type == "cuda"
        eager = self._eager
        self._step = capture(eager, [], device, required=True) if self._has_graph else eager

    def __call__(self, mosaic: Tensor) -> Tensor:
        self.load(mosaic)
        return self.work()

    def load(self, mosaic: Tensor) -> None:
        """Makes `mosaic` (on the device, of the form's dtype) the network's next input."""
        if self._has_graph:
            self._mosaic.copy_(mosaic)
        else:
            self._mosaic = mosaic

    def work(self) -> Tensor:
        """The picture of the loaded mosaic."""
        self._step()
        return self._picture

    def finish(self) -> None:
        """Waits until the device has done all that was queued."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def move(self, chance: random.Random) -> None:
        """Puts weights at new places in memory; a CUDA graph's can't move.

        Where buffers lie decides which of them push each other out of a cache, by several percent:
        a figure of one placing could not be reproduced by another process.
        """
        if self._has_graph:
            return
        self._spacers = [self._spacer(chance)]
        for parameter in self.network.parameters():
            parameter.data = parameter.data.clone()
            if chance.random() < 0.2:
                self._spacers.append(self._spacer(chance))

    def _spacer(self, chance: random.Random) -> Tensor:
        return torch.empty(chance.randrange(1, _GAP), dtype=torch.uint8, device=self.device)

    def _eager(self) -> None:
        self._picture = self._run(self._mosaic)


def deploy(
    model: DarkUNet, config: LatencyConfig, device: torch.device, height: int, width: int
) -> Deployed:
    """A copy of `model` in the form that `config` requests.

    To be called in `numerics(device)`, without gradients and alone on the device, since forms may
    have to be timed. Raises InputError where the device can't do what is asked; lets out-of-memory
    errors pass.
    """
    runtime = check_form(config, device)
    auto = config.memory_format == AUTO
    branches = model.deep.branches if isinstance(model.deep, Parallel) else ()
    may_fork = RUNTIMES[runtime].may_fork and len(branches) > 1
    first, *others = [
        Form(dtype=config.dtype, memory_format=memory_format, runtime=runtime, streams=streams)
        for memory_format in (MEMORY_FORMATS if auto else [config.memory_format])
        for streams in ([False, True] if may_fork else [False])
    ]
    best = Deployed(folded(model), first, device, height, width)
    best_s = _quick_s(best) if others else 0.0
    for form in others:
        candidate = Deployed(folded(model), form, device, height, width)
        seconds = _quick_s(candidate)
        if seconds < best_s * (1 - _CLEARLY):
            best, best_s = candidate, seconds
    return best


def folded(model: DarkUNet) -> DarkUNet:
    """`space.fold(model)`; InputError if weight norm is left, which would be timed as well."""
    plain = fold(model)
    for name, module in plain.named_modules():
        if parametrize.is_parametrized(module):
            rule = "a network must be folded before it is timed"
            raise InputError(f"{rule}, but {name} still has weight norm; fold every convolution")
    return plain


def check_form(config: LatencyConfig, device: torch.device) -> str:
    """The runtime that `config` means on `device`; InputError where the form is impossible."""
    for name, choices in CHOICES.items():
        if (value := getattr(config, name)) not in choices:
            rule = f"latency.{name} must be one of {', '.join(choices)}"
            raise InputError(f"{rule}, but got {value!r}; choose one of them")
    is_gpu = device.type == "cuda"
    if config.dtype == "bfloat16" and is_gpu and torch.cuda.get_device_capability(device) < (8, 0):
        name = torch.cuda.get_device_name(device)
        rule = "dtype bfloat16 needs a GPU of compute capability 8.0"
        raise InputError(f"{rule}, but {name} is older; choose float16")
    return settled_runtime(config.runtime, device)


def scoring_form(model: DarkUNet, config: LatencyConfig, device: str) -> DarkUNet:
    """A copy of `model` with the deployed arithmetic, folded, eager, for mosaics of any size."""
    memory_format = MEMORY_FORMATS.get(config.memory_format, torch.channels_last)
    network: DarkUNet = folded(model).to(torch.device(device), DTYPES[config.dtype])
    return network.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


@contextlib.contextmanager
def numerics(device: torch.device) -> Iterator[None]:
    """Inside, a GPU is the current one, without TF32, and cuDNN takes the fastest algorithm."""
    if device.type != "cuda":
        yield
        return
    flags = torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False)
    with torch.cuda.device(device), flags:
        yield


class ForkedParallel(Parallel):
    """`Parallel` whose branches run on streams of their own, for capture in a CUDA graph only.

    Outside of one the allocator would have to know which stream uses which tensor.
    """

    def forward(self, p2: Tensor) -> Tensor:
        main = torch.cuda.current_stream(p2.device)
        raised: list[tuple[Tensor, Tensor]] = []
        sides = [torch.cuda.Stream(p2.device) for _ in self.branches]  # type: ignore[no-untyped-call]
        for side, branch in zip(sides, self.branches, strict=True):
            assert isinstance(branch, DeepBranch)
            side.wait_stream(main)
            with torch.cuda.stream(side):
                up = branch.upsample(branch.at_scale(p2))
                raised.append((up, branch.refine(up)))
        for side in sides:
            main.wait_stream(side)
        return self.fuse([up for up, _ in raised], [refined for _, refined in raised])


def forked(model: DarkUNet) -> DarkUNet:
    """`model` with parallel branches on streams of their own; changed in place."""
    if isinstance(model.deep, Parallel):
        model.deep.__class__ = ForkedParallel
    return model


@torch.inference_mode()
def _quick_s(one: Deployed) -> float:
    """Median seconds of a few runs after as many others."""
    mosaic = torch.rand(one._mosaic.shape).to(one.device, one.dtype)
    times = []
    for _ in range(2 * _TRIAL_RUNS):
        one.finish()
        start = time.perf_counter()
        one(mosaic)
        one.finish()
        times.append(time.perf_counter() - start)
    return sorted(times[_TRIAL_RUNS:])[_TRIAL_RUNS // 2]
