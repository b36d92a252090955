"""The protocol of a measurement: warm up until steady, rounds in which networks take turns, again
where it drifts.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from trials.config import LatencyConfig
from trials.device.gpu_state import read_gpu
from trials.latency.statistics import LatencyRatio, drift, ratio_of_rounds, summarise
from trials.latency.timer import Timed, check_accounted, time_round

# Medians that differ by less, of two rounds of warm-up or of the first and last third of the runs,
# count as steady.
STEADY = 0.02
# So many measurements are tried until one does not drift.
TRIES = 3
# Told after each round: the try, the rounds of all tries, and the share of the longest time that
# is spent.
OnRound = Callable[[int, int, float], None]


class Watch:
    """Times all networks together, try after try; the ratios' rounds of all tries count, since a
    drift cancels out.
    """

    def __init__(
        self,
        timed: list[Timed],
        config: LatencyConfig,
        device: torch.device,
        on_round: OnRound | None,
        *,
        ratios_only: bool = False,
    ) -> None:
        """With `ratios_only` a try ends when the ratios are precise, and milliseconds may drift."""
        self.timed = timed
        self.ratios_only = ratios_only
        self.config = config
        self.device = device
        self.on_round = on_round
        self.gpu: list[dict[str, Any] | None] = []
        self.max_seconds = config.max_seconds * max(1, len(timed) - 1)
        reference, *models = timed
        self.order = [one for model in models for one in (reference, model)] or [reference]
        self._rounds: list[list[float]] = [[] for _ in models]
        self._device_rounds: list[list[float]] = [[] for _ in models]
        self._shares: list[float] = []
        self._chance = random.Random(0)
        self._tries = 0
        self.best: list[tuple[list[float], list[float]]] = []
        self._drift = math.inf

    def try_once(self) -> bool:
        """One measurement; whether it was steady enough for what it is for."""
        self._tries += 1
        for one in self.timed:
            one.forget()
        self._warm_up()
        before = read_gpu(self.device)
        started, turn = time.perf_counter(), 0
        while True:
            self._round(turn)
            turn += 1
            spent = time.perf_counter() - started
            if self.on_round:
                self.on_round(self._tries, len(self._shares), min(1.0, spent / self.max_seconds))
            runs = min(len(one.times_ms) for one in self.timed)
            if runs >= self.config.min_runs and (spent > self.max_seconds or self.is_precise()):
                break
        after = read_gpu(self.device)
        check_accounted(self._shares)
        worst = max(drift(one.times_ms) for one in self.timed)
        if worst < self._drift:
            self._drift = worst
            self.best = [(one.times_ms, one.device_ms) for one in self.timed]
            self.gpu = (
                [before, after] if self.device.type == "cuda" else []
            )  # of the try that is quoted
        return self.ratios_only or self._drift <= STEADY

    def ratios(self) -> list[tuple[LatencyRatio, LatencyRatio | None]]:
        """For each model its ratio to the reference, end to end and on the device."""
        return [
            (ratio_of_rounds(rounds), ratio_of_rounds(device_rounds) if device_rounds else None)
            for rounds, device_rounds in zip(self._rounds, self._device_rounds, strict=True)
        ]

    def _round(self, turn: int) -> None:
        for one in self.timed:
            one.move(self._chance)
        times, share = time_round(self.order, turn)
        self._shares.append(share)
        for index, rounds in enumerate(self._rounds):
            rounds.append(_median_ratio(times[2 * index + 1], times[2 * index]))
        if self.device.type == "cuda":
            reference, *models = (
                one.device_ms[-len(one.device_ms) // (turn + 1) :] for one in self.timed
            )
            step = len(models)
            for index, (own, rounds) in enumerate(zip(models, self._device_rounds, strict=True)):
                rounds.append(_median_ratio(own, reference[index::step]))

    def is_precise(self) -> bool:
        """Whether ratios, and medians if those are asked for, are known to the precision that was
        asked for.
        """
        precision = self.config.precision
        medians = (summarise(one.times_ms) for one in self.timed)
        if not self.ratios_only and any(
            found.high_ms - found.low_ms > precision * found.median_ms for found in medians
        ):
            return False
        ratios = (ratio for ratio, _ in self.ratios())
        return all(ratio.high - ratio.low <= precision * ratio.value for ratio in ratios)

    def _warm_up(self) -> None:
        """Runs every network until two rounds agree, or a quarter of the time is spent: drift will
        tell.
        """
        ends = time.perf_counter() + self.max_seconds / 4
        before = [math.inf] * len(self.timed)
        while True:
            rounds = [
                [one.run_ms(turn) for turn in range(self.config.warmup_runs)] for one in self.timed
            ]
            medians = [float(np.median(times)) for times in rounds]
            if all(
                abs(now - then) <= STEADY * now for now, then in zip(medians, before, strict=True)
            ):
                return
            if time.perf_counter() > ends:
                return
            before = medians


def _median_ratio(mine: Sequence[float], its: Sequence[float]) -> float:
    return float(np.median(np.asarray(mine) / np.asarray(its)))
