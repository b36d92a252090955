"""The form in which a network is deployed: folded, in its dtype and memory format, behind its
runtime.

A study has one such form, and all its networks are timed and judged in it, the published ones too.
Where a choice depends on the network (streams; memory format "auto") the clock decides.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from space import DarkUNet, InputError, fold
from space.branches import DeepBranch, Parallel
from trials.config import LatencyConfig

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
MEMORY_FORMATS = ("channels_last", "contiguous", "auto")
RUNTIMES = ("auto", "eager", "cuda_graph", "compile")
_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
# A form must be faster by more than this to be taken over the usual one.
_CLEARLY = 0.03
_TRIAL_RUNS = 8
# More than are ever timed in one run.
_COMPILED_NETWORKS = 10_000
# Largest piece of memory, in bytes, that keeps two buffers of a round apart.
_GAP = 2**20


@dataclass(frozen=True, kw_only=True)
class Form:
    """What was deployed in the end; `streams` says that branches run on streams of their own."""

    dtype: str
    memory_format: str
    runtime: str
    streams: bool


class Deployed:
    """A network as it is deployed on `device`, for mosaics b 1 `height` `width` there.

    `load` brings a mosaic to where the network reads it, `work` is the network; calling does both
    and gives sRGB, b 3 H W in [0, 1], of the form's dtype. A CUDA graph writes every picture to
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
        self._format = _FORMATS[form.memory_format]
        self.network = self.network.to(device, self.dtype).to(memory_format=self._format)  # type: ignore[call-overload]
        self._mosaic = torch.rand(1, 1, height, width).to(device, self.dtype)
        self._spacers: list[Tensor] = []
        self.run: Callable[[Tensor], Tensor] = (
            _compiled(self.network) if form.runtime == "compile" else self.network
        )
        self._graph: torch.cuda.CUDAGraph | None = None
        self._picture: Tensor
        if form.runtime != "eager" and device.type == "cuda":
            self._capture()

    def __call__(self, mosaic: Tensor) -> Tensor:
        self.load(mosaic)
        return self.work()

    def load(self, mosaic: Tensor) -> None:
        """Makes `mosaic` (on the device, of the form's dtype) the next that is worked on."""
        if self._graph is not None:
            self._mosaic.copy_(mosaic)
        else:
            self._mosaic = mosaic

    def work(self) -> Tensor:
        """The picture of the loaded mosaic."""
        if self._graph is None:
            return self.run(self._mosaic)
        self._graph.replay()
        return self._picture

    def finish(self) -> None:
        """Waits until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def move(self, chance: random.Random) -> None:
        """Puts weights at new places in memory; a CUDA graph's can't move.

        Where buffers lie decides which of them push each other out of a cache, by several percent.
        A figure of one placing would be a property of that process, and no other would find it
        again.
        """
        if self._graph is not None:
            return
        self._spacers = [
            torch.empty(chance.randrange(1, _GAP), dtype=torch.uint8, device=self.device)
        ]
        for parameter in self.network.parameters():
            parameter.data = parameter.data.clone()
            if chance.random() < 0.2:
                self._spacers.append(
                    torch.empty(chance.randrange(1, _GAP), dtype=torch.uint8, device=self.device)
                )

    def _capture(self) -> None:
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):  # cuDNN chooses its algorithms, the compiler compiles
            for _ in range(3):
                self.run(self._mosaic)
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._picture = self.run(self._mosaic)
        self._graph = graph


def deploy(
    model: DarkUNet, config: LatencyConfig, device: torch.device, height: int, width: int
) -> Deployed:
    """`model` in the form that `config` asks for; a copy, the model itself stays as it is.

    To be called in `numerics(device)`, without gradients and alone on the device, since the clock
    may have to decide. Raises InputError where the device can't do what is asked; lets
    out-of-memory errors pass.
    """
    runtime = check_form(config, device)
    formats = (
        ["channels_last", "contiguous"]
        if config.memory_format == "auto"
        else [config.memory_format]
    )
    may_fork = runtime == "cuda_graph" and isinstance(model.deep, Parallel)
    streams = [False, True] if may_fork and len(model.deep.branches) > 1 else [False]  # type: ignore[union-attr,arg-type]
    best, best_s = None, 0.0
    for memory_format in formats:
        for use_streams in streams:
            form = Form(
                dtype=config.dtype,
                memory_format=memory_format,
                runtime=runtime,
                streams=use_streams,
            )
            one = Deployed(folded(model), form, device, height, width)
            if len(formats) * len(streams) == 1:
                return one
            seconds = _quick_s(one)
            if best is None or seconds < best_s * (1 - _CLEARLY):
                best, best_s = one, seconds
    assert best is not None
    return best


def folded(model: DarkUNet) -> DarkUNet:
    """`space.fold(model)`, looked through: weight norm that was left on would be timed as well,
    and refused here.
    """
    plain = fold(model)
    for name, module in plain.named_modules():
        if parametrize.is_parametrized(module):
            raise InputError(
                f"a network must be folded before it is timed, but {name} still has "
                f"weight norm; fold every "
                "convolution"
            )
    return plain


def check_form(config: LatencyConfig, device: torch.device) -> str:
    """The runtime that `config` means on `device`; InputError where dtype, memory format or
    runtime can't be.
    """
    for name, value, known in (
        ("dtype", config.dtype, tuple(DTYPES)),
        ("memory_format", config.memory_format, MEMORY_FORMATS),
        ("runtime", config.runtime, RUNTIMES),
    ):
        if value not in known:
            raise InputError(
                f"latency.{name} must be one of {', '.join(known)}, but got {value!r}; "
                f"choose one of them"
            )
    is_gpu = device.type == "cuda"
    if config.runtime == "cuda_graph" and not is_gpu:
        raise InputError(
            f"runtime cuda_graph needs a GPU, but the device is {device}; choose eager or compile"
        )
    if config.dtype == "bfloat16" and is_gpu and torch.cuda.get_device_capability(device) < (8, 0):
        raise InputError(
            f"dtype bfloat16 needs a GPU of compute capability 8.0, but "
            f"{torch.cuda.get_device_name(device)} "
            "is older; choose float16"
        )
    if config.runtime == "compile" and not is_gpu and not _has_compiler():
        raise InputError(
            "runtime compile needs a C++ compiler, but there is no g++ or clang++ in the "
            "PATH; install one, "
            "or choose eager"
        )
    if config.runtime == "auto":
        return "cuda_graph" if is_gpu else "eager"
    return config.runtime


def judged_form(model: DarkUNet, config: LatencyConfig, device: str) -> DarkUNet:
    """`model` with the arithmetic that is deployed, for any size of mosaic: folded, of the form's
    dtype, eager.
    """
    memory_format = _FORMATS.get(config.memory_format, torch.channels_last)
    network: DarkUNet = folded(model).to(torch.device(device), DTYPES[config.dtype])
    return network.to(memory_format=memory_format)  # type: ignore[call-overload, no-any-return]


@contextlib.contextmanager
def numerics(device: torch.device) -> Iterator[None]:
    """Inside, the GPU is the current one, its float32 is float32 (no TF32), and cuDNN tries which
    algorithm is fastest.
    """
    if device.type != "cuda":
        yield
        return
    with (
        torch.cuda.device(device),
        torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
    ):
        yield


class ForkedParallel(Parallel):
    """`Parallel` whose branches run on streams of their own: for capture in a CUDA graph, where
    each becomes an arm.

    Outside of a graph the allocator would have to be told which stream uses which tensor; there,
    use `Parallel`.
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


def _compiled(network: nn.Module) -> Callable[[Tensor], Tensor]:
    # All networks share the code of DarkUNet, and torch counts that as one function compiled again
    # and again: after eight it would run the ninth network uncompiled, without an error.
    settings: Any = torch._dynamo.config
    for name in (
        "recompile_limit",
        "accumulated_recompile_limit",
        "cache_size_limit",
        "accumulated_cache_size_limit",
    ):
        if hasattr(settings, name):
            setattr(settings, name, _COMPILED_NETWORKS)
    compiled: Any = torch.compile(network, dynamic=False)
    return lambda mosaic: compiled(mosaic)


def forget_compiled() -> None:
    """Frees what was compiled so far; a network that is still in use is compiled anew."""
    torch.compiler.reset()


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


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "g++", "clang++"))
