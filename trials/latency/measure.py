"""How long the deployed network takes on this device, measured: the second objective of a search.

The protocol: alone on the device; warm up until steady; networks take turns with a reference (A B
A B ...), in rounds between which weights and inputs move to new places in memory; at least 50
runs, and more until the intervals are narrow or the time is spent; measured again where
milliseconds drift, three times at most. End-to-end milliseconds (host clock, from mosaic to sRGB,
both on the device) and a GPU's own (events) are separate figures.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from space import DarkUNet, InputError
from trials.config import LatencyConfig
from trials.device.lock import DeviceLock
from trials.device.memory import MIB, huge_pages_mib, keep_freed_memory, peak_memory_mib
from trials.latency.deployment import Form, check_form, deploy, numerics
from trials.latency.rounds import STEADY, TRIES, Measurement, OnRound
from trials.latency.runtimes import RUNTIMES
from trials.latency.statistics import LatencyRatio, Timing, drift, summarise
from trials.latency.timer import NetworkTimer, random_mosaics

FULL_FRAME = (2848, 4256)
CPU_FRAME = (512, 512)
# Bounds of a LatencyConfig's keys.
AT_LEAST_1 = ("height", "width", "threads", "min_runs", "warmup_runs")
ABOVE_0 = ("max_seconds", "first_seconds", "precision")


@dataclass(frozen=True, kw_only=True)
class Latency(Form, Timing):
    """End-to-end milliseconds for one mosaic of height x width, and all that they depend on.

    `device_time` is the GPU's own time of the same runs (events around the network); None on a
    CPU, where the host's clock is the device's. `steady` is False where the milliseconds drifted
    by more than 2 % in each of `tries` tries: then something else was using the device. The
    quantiles are those of the try that drifted least (by `drift`, a share). `peak_memory_mib` is
    one run's, uncompiled: weights, mosaic, and the tensors that live at once at its highest. `gpu`
    is the GPU's state before and after.
    """

    device_time: Timing | None
    peak_memory_mib: float
    steady: bool
    drift: float
    tries: int
    height: int
    width: int
    device: str
    device_name: str
    threads: int
    huge_pages: bool
    keeps_memory: bool
    gpu: list[dict[str, Any] | None]
    torch_version: str

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Latency:
        """The inverse of `to_dict`."""
        device_time = values["device_time"]
        return cls(**{**values, "device_time": Timing(**device_time) if device_time else None})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network's latency, and its ratio to the reference, end to end."""

    latency: Latency
    ratio: LatencyRatio
    device_ratio: LatencyRatio | None
    """The ratio of the GPU's own times; None on a CPU."""


def measure_latency(model: DarkUNet, config: LatencyConfig, *, device: str = "cpu") -> Latency:
    """The latency of `model` in its deployed form on `device`; the model itself is not changed.

    Height and width are rounded up to the network's multiple, to which photos have to be padded.
    Raises InputError for an impossible config; lets out-of-memory errors pass.
    """
    return measure_all(model, [], config, device=device)[0]


def measure_against(
    model: DarkUNet,
    reference: DarkUNet,
    config: LatencyConfig,
    *,
    device: str = "cpu",
    ratio_only: bool = False,
    tries: int = TRIES,
) -> tuple[Latency, LatencyRatio]:
    """The latency of `model` and its ratio to that of `reference`; otherwise as `measure_all`."""
    _, (measured,) = measure_all(
        reference, [model], config, device=device, ratio_only=ratio_only, tries=tries
    )
    return measured.latency, measured.ratio


def measure_all(
    reference: DarkUNet,
    models: Sequence[DarkUNet],
    config: LatencyConfig,
    *,
    device: str = "cpu",
    on_round: OnRound | None = None,
    ratio_only: bool = False,
    tries: int = TRIES,
) -> tuple[Latency, list[Measured]]:
    """The latency of `reference`, and all `models` timed in turn with it: R A R B R A R B ...

    `config.max_seconds` counts for each model, `tries` is how often they are measured at most.
    With `ratio_only`, for comparisons by the ratio alone, as a search makes, it ends when the
    ratios are precise: milliseconds that drift, which hits all networks alike, are marked by
    `steady`, but not measured again. Otherwise as `measure_latency`.
    """
    check_config(config)
    where = torch.device(device)
    check_form(config, where)
    # Torch imports this late, for seconds: not while others wait for the device.
    importlib.import_module("torch._dynamo")
    keeps = where.type == "cpu" and keep_freed_memory()
    # Not by inference_mode, in which weights could not be moved.
    with DeviceLock(device).alone(), _threads(config.threads), torch.no_grad(), numerics(where):
        timers = [_timer(model, config, device) for model in (reference, *models)]
        measurement = Measurement(timers, config, on_round, ratio_only=ratio_only)
        tries = measurement.run(tries)
        huge_mib = huge_pages_mib() if where.type == "cpu" else 0.0
        memory_mib = [_peak_mib(timer) for timer in timers]
        threads = torch.get_num_threads()
    RUNTIMES[timers[0].deployed.form.runtime].release()
    about = {
        "tries": tries,
        "device": where.type,
        "device_name": device_name(device),
        "threads": threads,
        "gpu": measurement.gpu,
        "huge_pages": huge_mib > 0,
        "keeps_memory": keeps,
        "torch_version": str(torch.__version__),
    }
    runs = zip(timers, measurement.best, memory_mib, strict=True)
    first, *latencies = (_summary(timer, times, mib, about) for timer, times, mib in runs)
    pairs = zip(latencies, measurement.ratios(), strict=True)
    measured = [
        Measured(latency=one, ratio=ratio, device_ratio=gpu) for one, (ratio, gpu) in pairs
    ]
    return first, measured


def _timer(model: DarkUNet, config: LatencyConfig, device: str) -> NetworkTimer:
    height, width = frame_size(config, device, model.size_multiple)
    deployed = deploy(model, config, torch.device(device), height, width)
    return NetworkTimer(deployed, random_mosaics(deployed, height, width))


def _peak_mib(timer: NetworkTimer) -> float:
    deployed, mosaic = timer.deployed, timer.mosaics[0]
    peak_mib = peak_memory_mib(lambda: deployed.network(mosaic), deployed.device)
    return peak_mib + deployed.weights_mib + mosaic.numel() * mosaic.element_size() / MIB


def _summary(
    timer: NetworkTimer,
    times: tuple[list[float], list[float]],
    peak_mib: float,
    about: dict[str, Any],
) -> Latency:
    height, width = timer.mosaics[0].shape[-2:]
    times_ms, device_ms = times
    change = drift(times_ms)
    return Latency(
        **summarise(times_ms).to_dict(),
        **asdict(timer.deployed.form),
        **about,
        device_time=summarise(device_ms) if device_ms else None,
        peak_memory_mib=peak_mib,
        drift=change,
        steady=change <= STEADY,
        height=height,
        width=width,
    )


def frame_size(config: LatencyConfig, device: str, multiple: int = 1) -> tuple[int, int]:
    """Height and width in pixels that are timed on `device`, rounded up to `multiple`."""
    height, width = FULL_FRAME if torch.device(device).type == "cuda" else CPU_FRAME
    height, width = config.height or height, config.width or width
    return math.ceil(height / multiple) * multiple, math.ceil(width / multiple) * multiple


def device_name(device: str) -> str:
    """The name of the GPU or the processor, as its maker calls it."""
    if torch.device(device).type == "cuda":
        return str(torch.cuda.get_device_name(device))
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def check_config(config: LatencyConfig) -> None:
    """Raises InputError where the config has impossible numbers."""
    for name in AT_LEAST_1:
        if (value := getattr(config, name)) is not None and value < 1:
            raise InputError(f"latency.{name} must be at least 1, but got {value}; raise it")
    for name in ABOVE_0:
        if not (value := getattr(config, name)) > 0:
            raise InputError(f"latency.{name} must be above 0, but got {value}; raise it")


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
