"""How long the deployed network takes on this device, measured: the second objective of a search.

The protocol: alone on the device; warm up until steady; networks take turns with a reference (A B
A B ...), in rounds between which weights and inputs move to new places in memory; at least 50
runs, and more until the intervals are narrow or the time is spent; measured again where
milliseconds drift, three times at most. End-to-end milliseconds (host clock, mosaic on the device
to sRGB on the device) and a GPU's own (events) are kept apart.
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
from trials.latency.deployment import check_form, deploy, forget_compiled, numerics
from trials.latency.rounds import STEADY, TRIES, OnRound, Watch
from trials.latency.statistics import LatencyRatio, Timing, drift, summarise
from trials.latency.timer import Timed, random_mosaics

FULL_FRAME = (2848, 4256)
CPU_FRAME = (512, 512)


@dataclass(frozen=True, kw_only=True)
class Latency(Timing):
    """One measurement: end-to-end milliseconds for one mosaic of height x width, and all that the
    figure depends on.

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
    dtype: str
    memory_format: str
    runtime: str
    streams: bool
    threads: int
    huge_pages: bool
    keeps_memory: bool
    gpu: list[dict[str, Any] | None]
    torch_version: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Latency:
        """What `to_dict` gave."""
        device_time = told["device_time"]
        return cls(**{**told, "device_time": Timing(**device_time) if device_time else None})


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A network's latency, and its ratios to the reference: end to end, and of a GPU's own times
    (None on a CPU).
    """

    latency: Latency
    ratio: LatencyRatio
    device_ratio: LatencyRatio | None


def measure_latency(model: DarkUNet, config: LatencyConfig, *, device: str = "cpu") -> Latency:
    """The latency of `model` in its deployed form on `device`.

    The model itself is left as it is. Height and width are rounded up to the network's multiple,
    since that is what it has to be padded to. Raises InputError for an impossible config; lets
    out-of-memory errors pass.
    """
    return _measure(model, [], config, device, None)[0]


def measure_against(
    model: DarkUNet,
    reference: DarkUNet,
    config: LatencyConfig,
    *,
    device: str = "cpu",
    ratio_only: bool = False,
    tries: int | None = None,
) -> tuple[Latency, LatencyRatio]:
    """The latency of `model`, and its ratio to that of `reference`, timed in turn; otherwise as
    `measure_latency`.

    `ratio_only` is for those who judge by the ratio alone, as a search does: it ends when the
    ratio is precise. A drift of milliseconds, which hits both networks alike, is told by `steady`,
    but not measured again for. `tries` is how often it is measured at most.
    """
    _, (measured,) = _measure(
        reference, [model], config, device, None, ratios_only=ratio_only, most_tries=tries or TRIES
    )
    return measured.latency, measured.ratio


def measure_all(
    reference: DarkUNet,
    models: Sequence[DarkUNet],
    config: LatencyConfig,
    *,
    device: str = "cpu",
    on_round: OnRound | None = None,
) -> tuple[Latency, list[Measured]]:
    """The latency of `reference`, and all `models` timed in turn with it in one run: R A R B R A R
    B ...

    `config.max_seconds` counts for each model. Otherwise as `measure_latency`.
    """
    return _measure(reference, models, config, device, on_round)


def _measure(
    reference: DarkUNet,
    models: Sequence[DarkUNet],
    config: LatencyConfig,
    device: str,
    on_round: OnRound | None,
    *,
    ratios_only: bool = False,
    most_tries: int = TRIES,
) -> tuple[Latency, list[Measured]]:
    check_config(config)
    where = torch.device(device)
    check_form(config, where)
    # Torch imports this late, for seconds: not while others wait for the device.
    importlib.import_module("torch._dynamo")
    keeps = where.type == "cpu" and keep_freed_memory()
    # Not by inference_mode, which would keep weights from being moved.
    with DeviceLock(device).alone(), _threads(config.threads), torch.no_grad(), numerics(where):
        timed = [_ready(model, config, device) for model in (reference, *models)]
        watch = Watch(timed, config, where, on_round, ratios_only=ratios_only)
        for tries in range(1, most_tries + 1):
            if watch.try_once() and watch.is_precise():
                break
        huge_mib = huge_pages_mib() if where.type == "cpu" else 0.0
        memory = [_peak_mib(one) for one in timed]
        threads = torch.get_num_threads()
    if timed[0].deployed.form.runtime == "compile":
        forget_compiled()
    about = {
        "tries": tries,
        "device": where.type,
        "device_name": device_name(device),
        "threads": threads,
        "gpu": watch.gpu,
        "huge_pages": huge_mib > 0,
        "keeps_memory": keeps,
        "torch_version": str(torch.__version__),
    }
    found = [
        _summary(one, times, mib, about)
        for one, times, mib in zip(timed, watch.best, memory, strict=True)
    ]
    ratios = watch.ratios()
    return found[0], [
        Measured(latency=latency, ratio=ratio, device_ratio=device_ratio)
        for latency, (ratio, device_ratio) in zip(found[1:], ratios, strict=True)
    ]


def _ready(model: DarkUNet, config: LatencyConfig, device: str) -> Timed:
    height, width = frame_size(config, device, model.size_multiple)
    deployed = deploy(model, config, torch.device(device), height, width)
    return Timed(deployed, random_mosaics(deployed, height, width))


def _peak_mib(one: Timed) -> float:
    mosaic = one.mosaics[0]
    more = peak_memory_mib(lambda: one.deployed.network(mosaic), one.deployed.device)
    return more + one.deployed.weights_mib + mosaic.numel() * mosaic.element_size() / MIB


def _summary(
    timed: Timed, times: tuple[list[float], list[float]], peak_mib: float, about: dict[str, Any]
) -> Latency:
    height, width = timed.mosaics[0].shape[-2:]
    times_ms, device_ms = times
    off = drift(times_ms)
    return Latency(
        **summarise(times_ms).to_dict(),
        **asdict(timed.deployed.form),
        **about,
        device_time=summarise(device_ms) if device_ms else None,
        peak_memory_mib=peak_mib,
        drift=off,
        steady=off <= STEADY,
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
    for name, low in (
        ("height", 1),
        ("width", 1),
        ("threads", 1),
        ("min_runs", 1),
        ("warmup_runs", 1),
    ):
        value = getattr(config, name)
        if value is not None and value < low:
            raise InputError(f"latency.{name} must be at least {low}, but got {value}; raise it")
    for name in ("max_seconds", "first_seconds", "precision"):
        if not getattr(config, name) > 0:
            raise InputError(
                f"latency.{name} must be above 0, but got {getattr(config, name)}; raise it"
            )


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
