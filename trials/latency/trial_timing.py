"""A trial's timing: rough before the training, by the whole protocol once it is trained.

Most networks of a search are stopped early, after a second or two of training. To know their
latency to 1 % would take longer than that, and 3 % is enough to rank them.
"""

from __future__ import annotations

from dataclasses import replace

from space import BASELINES, Genome, build_model
from trials.config import TrialConfig
from trials.latency.measure import Latency, measure_against, measure_latency
from trials.latency.rounds import TRIES
from trials.latency.statistics import LatencyRatio

# MO against itself.
ITSELF = LatencyRatio(value=1.0, low=1.0, high=1.0, rounds=0, drift=0.0)
ROUGH_PRECISION = 0.03
ROUGH_RUNS = 15

Timed = tuple[Latency, LatencyRatio]


def time_network(genome: Genome, config: TrialConfig, *, rough: bool = False) -> Timed:
    """The latency of `genome`'s network on the config's device, and its ratio to MO's.

    A `rough` measurement ends when the ratio is known to 3 % or `latency.first_seconds` are over;
    the reference itself, MO, is never measured roughly.
    """
    model, settings, device = build_model(genome), config.latency, config.device
    if genome == BASELINES["MO"]:
        return measure_latency(model, settings, device=device), ITSELF
    if rough:
        precision = max(ROUGH_PRECISION, settings.precision)
        settings = replace(settings, precision=precision, max_seconds=settings.first_seconds)
        settings = replace(settings, min_runs=min(ROUGH_RUNS, settings.min_runs))
    mo, tries = build_model(BASELINES["MO"]), 1 if rough else TRIES
    return measure_against(model, mo, settings, device=device, ratio_only=True, tries=tries)


def is_close(timed: Timed, limit_ms: float, mo_latency_ms: float | None) -> bool:
    """Whether a rough measurement leaves open on which side of `limit_ms` the network is."""
    latency, ratio = timed
    low, high = latency.low_ms, latency.high_ms
    if mo_latency_ms is not None:
        low, high = ratio.low * mo_latency_ms, ratio.high * mo_latency_ms
    return low * (1 - ROUGH_PRECISION) <= limit_ms <= high * (1 + ROUGH_PRECISION)
