"""What runs a deployed network: one `Runtime` for each value of latency.runtime.

To add one, add it to RUNTIMES, with a test of its picture in tests/trials/latency.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from space import InputError

Run = Callable[[Tensor], Tensor]
AUTO = "auto"
# More than are ever timed in one run.
_COMPILED_NETWORKS = 10_000


def _nothing(*_: object) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How a network is run, from mosaic b 1 H W to sRGB picture b 3 H W."""

    prepare: Callable[[nn.Module, Tensor], Run] = lambda network, example: network
    """From a network and a mosaic of the size that it will get, to what is called."""
    check: Callable[[torch.device], None] = _nothing
    """Raises InputError where the device can't."""
    uses_graph: bool = False
    """On a GPU, whether it is captured in a CUDA graph."""
    may_fork: bool = False
    """Whether parallel branches may run on streams of their own."""
    release: Callable[[], None] = _nothing
    """Frees, after a measurement, what all its networks prepared."""


def settled_runtime(name: str, device: torch.device) -> str:
    """`name`, with "auto" decided for `device`; InputError where the device does not have it."""
    if name == AUTO:
        name = "cuda_graph" if device.type == "cuda" else "eager"
    RUNTIMES[name].check(device)
    return name


def _needs_gpu(device: torch.device) -> None:
    if device.type != "cuda":
        raise InputError(
            f"runtime cuda_graph needs a GPU, but the device is {device}; choose eager or compile"
        )


def _needs_compiler(device: torch.device) -> None:
    compilers = (os.environ.get("CXX") or "g++", "g++", "clang++")
    if device.type != "cuda" and not any(shutil.which(name) for name in compilers):
        rule = "runtime compile needs a C++ compiler"
        raise InputError(
            f"{rule}, but there is no g++ or clang++ in the PATH; get one, or choose eager"
        )


def _compiled(network: nn.Module, example: Tensor) -> Run:
    # All networks share the code of DarkUNet, which torch counts as one function compiled again
    # and again: after eight it would run the ninth network uncompiled, without an error.
    settings: Any = torch._dynamo.config
    limits = ("recompile_limit", "cache_size_limit")
    for name in (*limits, *(f"accumulated_{limit}" for limit in limits)):
        if hasattr(settings, name):
            setattr(settings, name, _COMPILED_NETWORKS)
    run: Run = torch.compile(network, dynamic=False)
    return run


RUNTIMES = {
    "eager": Runtime(),
    "cuda_graph": Runtime(check=_needs_gpu, uses_graph=True, may_fork=True),
    # Released networks that are still in use are compiled anew.
    "compile": Runtime(
        prepare=_compiled, check=_needs_compiler, uses_graph=True, release=torch.compiler.reset
    ),
}
