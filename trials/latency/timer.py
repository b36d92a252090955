"""One run of a deployed network, timed, and what makes such a time wrong: refused here.

Inputs are random mosaics that take turns. Each run starts and ends with an idle device. After each
round the clock is held against the wall: a timer that does not wait for the device accounts for a
part of the time only.
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
# Mosaics that vary less than this are no picture: a GPU draws less power on them, and so clocks
# higher.
_LEAST_SPREAD = 0.01


class Timed:
    """A deployed network with its inputs, and the runs timed so far (milliseconds).

    `device_ms` are a GPU's own times of the same runs, by events around the network; none on a
    CPU, where the host's clock is the device's.
    """

    def __init__(self, deployed: Deployed, mosaics: Sequence[Tensor]) -> None:
        for mosaic in mosaics:
            spread = float(mosaic.float().std())
            if not spread >= _LEAST_SPREAD:
                raise InputError(
                    f"mosaics must vary as pictures do (standard deviation at least "
                    f"{_LEAST_SPREAD}), but "
                    f"got one of {spread:.3g}; time random or real ones, never zeros"
                )
        self.deployed = deployed
        self.mosaics = list(mosaics)
        self.times_ms: list[float] = []
        self.device_ms: list[float] = []
        self._output: Tensor | None = None
        self._events = (
            [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
            if deployed.device.type == "cuda"
            else None
        )

    @torch.inference_mode()
    def run_ms(self, turn: int) -> float:
        """End-to-end milliseconds of one run on the mosaic whose turn it is: from the mosaic on
        the device to sRGB.
        """
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

    def keep(self, time_ms: float) -> None:
        """Adds the run that has just been timed to those that count."""
        self.times_ms.append(time_ms)
        if self._events:
            self.device_ms.append(self._events[0].elapsed_time(self._events[1]))

    def forget(self) -> None:
        """Begins anew."""
        self.times_ms, self.device_ms = [], []

    def move(self, chance: random.Random) -> None:
        """Weights and inputs go to new places in memory."""
        self.deployed.move(chance)
        self.mosaics = [mosaic.clone() for mosaic in self.mosaics]

    def read_back(self) -> float:
        """A value of the last picture, on the host: it can't be had before the device is done."""
        assert self._output is not None
        return float(self._output.flatten()[-1])


def random_mosaics(deployed: Deployed, height: int, width: int) -> list[Tensor]:
    """Random mosaics for one network, on its device and of its dtype."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.rand(1, 1, height, width, generator=generator).to(deployed.device, deployed.dtype)
        for _ in range(INPUTS)
    ]


def time_round(order: Sequence[Timed], turn: int) -> tuple[list[list[float]], float]:
    """PAIRS runs of each network in `order` (one may stand there more than once), and the share
    that they account for.

    Returns per place in `order` its milliseconds, turn by turn.
    """
    for one in dict.fromkeys(order):
        one.run_ms(turn)  # new places: the first touch of each page is nobody's run
        one.read_back()
    times: list[list[float]] = [[] for _ in order]
    start = time.perf_counter_ns()
    for k in range(PAIRS):
        for place, one in enumerate(order):
            time_ms = one.run_ms(turn + k)
            one.keep(time_ms)
            times[place].append(time_ms)
    for one in dict.fromkeys(order):
        one.read_back()
    wall_ms = (time.perf_counter_ns() - start) / 1e6
    return times, sum(map(sum, times)) / wall_ms


def check_accounted(shares: Sequence[float]) -> None:
    """InputError where a usual round took much longer than its runs are said to have taken.

    The median of the rounds decides: a process that was put aside for once is no wrong clock.
    """
    share = sorted(shares)[len(shares) // 2]
    if share < ACCOUNTED:
        raise InputError(
            f"the timed runs must account for at least {ACCOUNTED:.0%} of the wall-clock "
            f"time, but did for "
            f"{share:.0%}: the timer does not wait for the device; synchronise it"
        )
