"""The latency of a deployed network on this device, measured so that it can be published."""

from trials.latency.measure import Latency, frame_size, measure_all
from trials.latency.statistics import LatencyRatio

__all__ = ["Latency", "LatencyRatio", "frame_size", "measure_all"]
