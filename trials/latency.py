"""How long the deployed network takes on this device, measured: the second objective of a search.

The folded network (what would be deployed) gets random mosaics, several in turn, after a warm-up; every run is
synchronised on both sides and timed by the host's clock, so a figure is what a caller waits for: mosaic on the
device to sRGB on the device. The median counts, with its confidence interval and the spread.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from space import DarkUNet, InputError, fold
from trials.config import LatencyConfig
from trials.exclusive import DeviceLock

# Random mosaics that take turns, so that no cache holds the one that is timed.
INPUTS = 4
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# Medians that differ by less, of two rounds of warm-up or of the first and last third of the runs, count as steady.
STEADY = 0.02
# So many measurements are tried until one does not drift.
TRIES = 3
FULL_FRAME = (2848, 4256)
CPU_FRAME = (512, 512)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One measurement: milliseconds for one mosaic of height x width, and all that the figure depends on.

    `low_ms` and `high_ms` bound the median with 95 % confidence (order statistics, no assumption of normality);
    `p10_ms` and `p90_ms` tell the spread of single runs. `steady` is False where the figure drifted by more than 2 %
    in each of `tries` measurements: then something else was using the device.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    p10_ms: float
    p90_ms: float
    runs: int
    steady: bool
    tries: int
    height: int
    width: int
    device: str
    device_name: str
    dtype: str
    threads: int
    torch_version: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LatencyRatio:
    """How many times as long as a reference network, timed in turn with it (A B A B ...): the median of the pairs'
    ratios, with its 95 % confidence interval. Whatever slows both of a pair alike cancels out."""

    median: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def measure_latency(model: DarkUNet, config: LatencyConfig, *, device: str = "cpu") -> Latency:
    """The latency of `model` in its deployed form (folded, `config.dtype`) on `device`.

    The model itself is left as it is. Height and width are rounded up to the network's multiple, since that is what
    it has to be padded to. Raises InputError for an impossible config; lets out-of-memory errors pass.
    """
    return _measure([model], config, device)[0][0]


def measure_against(
    model: DarkUNet, reference: DarkUNet, config: LatencyConfig, *, device: str = "cpu"
) -> tuple[Latency, LatencyRatio]:
    """The latency of `model`, and its ratio to that of `reference`, timed in turn; otherwise as `measure_latency`."""
    (latency, times_ms), (_, reference_ms) = _measure([model, reference], config, device)
    ratios = sorted(mine / its for mine, its in zip(times_ms, reference_ms, strict=True))
    low, high = median_bounds(ratios)
    return latency, LatencyRatio(median=_quantile(ratios, 0.5), low=low, high=high)


def _measure(models: list[DarkUNet], config: LatencyConfig, device: str) -> list[tuple[Latency, list[float]]]:
    """Each model's latency and its single runs in the order in which they were timed, taking turns."""
    _check(config)
    where = torch.device(device)
    dtype = DTYPES[config.dtype]
    generator = torch.Generator().manual_seed(0)
    timed = []
    for model in models:
        height, width = frame_size(config, device, model.size_multiple)
        mosaics = [torch.rand(1, 1, height, width, generator=generator).to(where, dtype) for _ in range(INPUTS)]
        timed.append(Timed(fold(model).to(where, dtype), mosaics, where))
    with DeviceLock(device).alone(), _threads(config.threads), torch.inference_mode():
        for tries in range(1, TRIES + 1):
            warm = _warm_up(timed, config)
            _time_runs(timed, config)
            steady = warm and all(drift(one.times_ms) <= STEADY for one in timed)
            if steady:
                break
        threads = torch.get_num_threads()
    return [(_summary(one, config, device, threads, steady, tries), one.times_ms) for one in timed]


class Timed:
    """A deployed network with its inputs, and the runs timed so far."""

    def __init__(self, model: DarkUNet, mosaics: list[Tensor], device: torch.device) -> None:
        self.model = model
        self.mosaics = mosaics
        self.device = device
        self.times_ms: list[float] = []

    def run_ms(self, turn: int) -> float:
        """One synchronised run on the mosaic whose turn it is."""
        return _run_ms(self.model, self.mosaics[turn % len(self.mosaics)], self.device)


def _summary(
    timed: Timed, config: LatencyConfig, device: str, threads: int, steady: bool, tries: int
) -> Latency:
    ordered = sorted(timed.times_ms)
    low, high = median_bounds(ordered)
    height, width = timed.mosaics[0].shape[-2:]
    return Latency(
        median_ms=_quantile(ordered, 0.5), low_ms=low, high_ms=high, p10_ms=_quantile(ordered, 0.1),
        p90_ms=_quantile(ordered, 0.9), runs=len(ordered), steady=steady, tries=tries, height=height, width=width,
        device=timed.device.type, device_name=device_name(device), dtype=config.dtype, threads=threads,
        torch_version=str(torch.__version__),
    )  # fmt: skip


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


def median_bounds(times: Sequence[float]) -> tuple[float, float]:
    """The 95 % confidence interval of the median of sorted `times`, from the binomial law of order statistics.

    With fewer than six values no such interval exists: the smallest and the largest value come back.
    """
    n = len(times)
    reach = 0.98 * math.sqrt(n)  # 1.96 standard deviations of Binomial(n, 1/2)
    low, high = math.floor((n - 1) / 2 - reach), math.ceil((n - 1) / 2 + reach)
    return times[max(low, 0)], times[min(high, n - 1)]


def _check(config: LatencyConfig) -> None:
    if config.dtype not in DTYPES:
        raise InputError(f"latency.dtype must be one of {', '.join(DTYPES)}, but got {config.dtype!r}; "
                         "choose one of them")  # fmt: skip
    for name, low in (("height", 1), ("width", 1), ("threads", 1), ("min_runs", 1), ("warmup_runs", 1)):
        value = getattr(config, name)
        if value is not None and value < low:
            raise InputError(f"latency.{name} must be at least {low}, but got {value}; raise it")
    if not (config.max_seconds > 0 and config.precision > 0):
        raise InputError(f"latency.max_seconds and latency.precision must be above 0, but got {config.max_seconds} and "
                         f"{config.precision}; raise them")  # fmt: skip


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_ms(model: DarkUNet, mosaic: Tensor, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter_ns()
    model(mosaic)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter_ns() - start) / 1e6


def _warm_up(timed: list[Timed], config: LatencyConfig) -> bool:
    """Runs every network until two rounds agree; False where they don't before a quarter of the time is spent."""
    ends = time.perf_counter() + config.max_seconds / 4
    before = [math.inf] * len(timed)
    while True:
        rounds = [sorted(one.run_ms(turn) for turn in range(config.warmup_runs)) for one in timed]
        medians = [_quantile(times, 0.5) for times in rounds]
        if all(abs(now - then) <= STEADY * now for now, then in zip(medians, before, strict=True)):
            return True
        if time.perf_counter() > ends:
            return False
        before = medians


def _time_runs(timed: list[Timed], config: LatencyConfig) -> None:
    ends = time.perf_counter() + config.max_seconds
    for one in timed:
        one.times_ms = []
    for turn in itertools.count():
        for one in timed:
            one.times_ms.append(one.run_ms(turn))
        if turn + 1 < config.min_runs:
            continue
        if time.perf_counter() > ends:
            return
        if turn % 10 == 9 and all(_is_precise(one.times_ms, config.precision) for one in timed):
            return


def _is_precise(times_ms: list[float], precision: float) -> bool:
    ordered = sorted(times_ms)
    low, high = median_bounds(ordered)
    return high - low <= precision * _quantile(ordered, 0.5)


def drift(times_ms: Sequence[float]) -> float:
    """By what share the median of the last third of the runs differs from that of the first third."""
    third = max(1, len(times_ms) // 3)
    first, last = _quantile(sorted(times_ms[:third]), 0.5), _quantile(sorted(times_ms[-third:]), 0.5)
    return abs(last - first) / first


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest of the sorted values."""
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
