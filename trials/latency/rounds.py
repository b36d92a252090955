"""The rounds of a measurement: warm-up until steady, networks in turn, again where it drifts."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trials.config import LatencyConfig
from trials.device.gpu_state import read_gpu
from trials.latency.statistics import LatencyRatio, drift, ratio_of_rounds, summarise
from trials.latency.timer import NetworkTimer, check_accounted, time_round

# Steady: medians of two rounds of warm-up, or of the first and last third of the runs, this close.
STEADY = 0.02
# So many measurements are tried until one does not drift.
TRIES = 3
# Called after each round with the try, the rounds of all tries, and the share of the longest time
# that is spent.
OnRound = Callable[[int, int, float], None]


class Measurement:
    """Times several networks together, the first of them the reference of the others' ratios.

    Milliseconds are those of the steadiest try; the ratios' rounds of all tries count, since a
    drift cancels out of them. With `ratio_only` a try ends when the ratios are precise, and
    milliseconds may drift.
    """

    def __init__(
        self,
        timers: list[NetworkTimer],
        config: LatencyConfig,
        on_round: OnRound | None,
        *,
        ratio_only: bool,
    ) -> None:
        self.best: list[tuple[list[float], list[float]]] = []
        """Of each network, milliseconds end to end and on the device, of the steadiest try."""
        self.gpu: list[dict[str, Any] | None] = []
        """The GPU's state before and after that try."""
        self._timers, self._config = timers, config
        self._device = timers[0].deployed.device
        self._on_round, self._ratio_only = on_round, ratio_only
        self._max_seconds = config.max_seconds * max(1, len(timers) - 1)
        reference, *models = timers
        self._order = [one for model in models for one in (reference, model)] or [reference]
        self._rounds: list[list[float]] = [[] for _ in models]
        self._device_rounds: list[list[float]] = [[] for _ in models]
        self._shares: list[float] = []
        self._chance = random.Random(0)
        self._drift = math.inf

    def run(self, most_tries: int = TRIES) -> int:
        """Measures until a try is steady and precise; how many tries it took."""
        for number in range(1, most_tries + 1):
            self._try(number)
            if (self._ratio_only or self._drift <= STEADY) and self._is_precise():
                break
        return number

    def ratios(self) -> list[tuple[LatencyRatio, LatencyRatio | None]]:
        """For each model its ratio to the reference, end to end and on the device."""
        return [
            (ratio_of_rounds(rounds), ratio_of_rounds(device_rounds) if device_rounds else None)
            for rounds, device_rounds in zip(self._rounds, self._device_rounds, strict=True)
        ]

    def _try(self, number: int) -> None:
        for timer in self._timers:
            timer.reset()
        self._warm_up()
        before = read_gpu(self._device)
        started, turn = time.perf_counter(), 0
        while True:
            self._round(turn)
            turn += 1
            spent = time.perf_counter() - started
            if self._on_round:
                self._on_round(number, len(self._shares), min(1.0, spent / self._max_seconds))
            runs = min(len(timer.times_ms) for timer in self._timers)
            is_over = spent > self._max_seconds
            if runs >= self._config.min_runs and (is_over or self._is_precise()):
                break
        after = read_gpu(self._device)
        check_accounted(self._shares)
        worst = max(drift(timer.times_ms) for timer in self._timers)
        if worst < self._drift:
            self._drift = worst
            self.best = [(timer.times_ms, timer.device_ms) for timer in self._timers]
            self.gpu = [before, after] if self._device.type == "cuda" else []

    def _round(self, turn: int) -> None:
        for timer in self._timers:
            timer.move(self._chance)
        times, share = time_round(self._order, turn)
        self._shares.append(share)
        for index, rounds in enumerate(self._rounds):
            rounds.append(_median_ratio(times[2 * index + 1], times[2 * index]))
        if self._device.type == "cuda":
            reference, *models = (
                timer.device_ms[-len(timer.device_ms) // (turn + 1) :] for timer in self._timers
            )
            step = len(models)
            for index, (own, rounds) in enumerate(zip(models, self._device_rounds, strict=True)):
                rounds.append(_median_ratio(own, reference[index::step]))

    def _is_precise(self) -> bool:
        """Whether ratios, and medians if those count, are known to the requested precision."""
        precision = self._config.precision
        medians = (summarise(timer.times_ms) for timer in self._timers)
        if not self._ratio_only and any(
            timing.high_ms - timing.low_ms > precision * timing.median_ms for timing in medians
        ):
            return False
        ratios = (ratio for ratio, _ in self.ratios())
        return all(ratio.high - ratio.low <= precision * ratio.value for ratio in ratios)

    def _warm_up(self) -> None:
        """Runs every network until two rounds agree, or a quarter of the time is spent."""
        ends = time.perf_counter() + self._max_seconds / 4
        before = [math.inf] * len(self._timers)
        while True:
            turns = range(self._config.warmup_runs)
            rounds = [[timer.run_ms(turn) for turn in turns] for timer in self._timers]
            medians = [float(np.median(times)) for times in rounds]
            pairs = zip(medians, before, strict=True)
            steady = all(abs(now - then) <= STEADY * now for now, then in pairs)
            if steady or time.perf_counter() > ends:  # `drift` shows what is left then
                return
            before = medians


def _median_ratio(mine: Sequence[float], reference: Sequence[float]) -> float:
    return float(np.median(np.asarray(mine) / np.asarray(reference)))
