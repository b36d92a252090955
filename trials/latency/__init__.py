"""The latency of a deployed network on this device, measured so that it can be published."""

from trials.latency.deployment import Deployed, Form, deploy, numerics, scoring_form
from trials.latency.measure import (
    Latency,
    Measured,
    device_name,
    frame_size,
    measure_against,
    measure_all,
    measure_latency,
)
from trials.latency.statistics import LatencyRatio, Timing
from trials.latency.trial_timing import Timed, is_close, time_network

__all__ = [
    "Deployed",
    "Form",
    "Latency",
    "LatencyRatio",
    "Measured",
    "Timed",
    "Timing",
    "deploy",
    "device_name",
    "frame_size",
    "is_close",
    "measure_against",
    "measure_all",
    "measure_latency",
    "numerics",
    "scoring_form",
    "time_network",
]
