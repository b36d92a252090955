"""The timer of single runs of a deployed network; what would make a time wrong is refused.

Inputs are random mosaics that take turns. Each run starts and ends with an idle device. After each
round its runs are compared with the wall-clock time, of which a timer that does not wait for the
device accounts for a part only.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from space import InputError
from trials.latency.deployment import Deployed

# Mosaics that take turns, so that no cache holds the one that is timed.
INPUTS = 4
# Runs of each network in one round, between which weights and inputs stay where they are.
PAIRS = 4
# The share of a round's wall-clock time that its single runs must account for.
ACCOUNTED = 0.7
# On mosaics that vary less than this a GPU draws less power, and so clocks higher.
_LEAST_SPREAD = 0.01


class NetworkTimer:
    """A deployed network with its inputs, and the runs timed so far (milliseconds).

    `device_ms` are a GPU's own times of the same runs, by events around the network; none on a
    CPU, where the host's clock is the device's.
    """

    def __init__(self, deployed: Deployed, mosaics: Sequence[Tensor]) -> None:
        for mosaic in mosaics:
            spread = float(mosaic.float().std())
            if not spread >= _LEAST_SPREAD:
                rule = f"mosaics must vary as pictures do (deviation {_LEAST_SPREAD} or more)"
                raise InputError(f"{rule}, but got {spread:.3g}; time random or real ones")
        self.deployed = deployed
        self.mosaics = list(mosaics)
        self.times_ms: list[float] = []
        self.device_ms: list[float] = []
        self._output: Tensor | None = None
        count = 2 if deployed.device.type == "cuda" else 0
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(count)]  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def run_ms(self, turn: int) -> float:
        """End-to-end milliseconds of one run on the mosaic whose turn it is."""
        deployed, mosaic = self.deployed, self.mosaics[turn % len(self.mosaics)]
        deployed.finish()
        start = time.perf_counter_ns()
        deployed.load(mosaic)
        if self._events:
            self._events[0].record()
        self._output = deployed.work()
        if self._events:
            self._events[1].record()
        deployed.finish()
        return (time.perf_counter_ns() - start) / 1e6

    def record(self, time_ms: float) -> None:
        """Counts the run that has just been timed."""
        self.times_ms.append(time_ms)
        if self._events:
            self.device_ms.append(self._events[0].elapsed_time(self._events[1]))

    def reset(self) -> None:
        """Discards the runs so far."""
        self.times_ms, self.device_ms = [], []

    def move(self, chance: random.Random) -> None:
        """Moves weights and inputs to new places in memory."""
        self.deployed.move(chance)
        self.mosaics = [mosaic.clone() for mosaic in self.mosaics]

    def read_back(self) -> float:
        """A value of the last picture, on the host: the device must have finished."""
        assert self._output is not None
        return float(self._output.flatten()[-1])


def random_mosaics(deployed: Deployed, height: int, width: int) -> list[Tensor]:
    """Random mosaics for one network, on its device and of its dtype."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(1, 1, height, width, generator=generator).to(deployed.device, deployed.dtype)
        for _ in range(INPUTS)
    ]


def time_round(order: Sequence[NetworkTimer], turn: int) -> tuple[list[list[float]], float]:
    """Times PAIRS runs of each network in `order`, where one may stand more than once.

    Returns per place in `order` its milliseconds, turn by turn, and the share of the round's
    wall-clock time that they account for.
    """
    timers = dict.fromkeys(order)
    for timer in timers:
        timer.run_ms(turn)  # new places: the first touch of each page is not timed
        timer.read_back()
    times: list[list[float]] = [[] for _ in order]
    start = time.perf_counter_ns()
    for k in range(PAIRS):
        for place, timer in enumerate(order):
            time_ms = timer.run_ms(turn + k)
            timer.record(time_ms)
            times[place].append(time_ms)
    for timer in timers:
        timer.read_back()
    wall_ms = (time.perf_counter_ns() - start) / 1e6
    return times, sum(map(sum, times)) / wall_ms


def check_accounted(shares: Sequence[float]) -> None:
    """Raises InputError where runs account for too small a share of the median round.

    The median, since one round in which the process was suspended shows no wrong timer.
    """
    share = sorted(shares)[len(shares) // 2]
    if share < ACCOUNTED:
        raise InputError(
            f"the timed runs must account for at least {ACCOUNTED:.0%} of the wall-clock time, "
            f"but did for {share:.0%}: the timer does not wait for the device; synchronise it"
        )
