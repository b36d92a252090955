"""The device that a trial runs on: its lock, memory, precision and errors."""

from trials.device.cuda_graph import capture
from trials.device.errors import (
    DeviceLostError,
    DeviceMemoryError,
    device_errors,
    free_memory,
    is_lost,
    is_out_of_memory,
)
from trials.device.gpu_state import read_gpu
from trials.device.lock import DeviceLock
from trials.device.memory import keep_freed_memory, peak_memory_mib
from trials.device.precision import DTYPES, settled_dtype, training_dtype

__all__ = [
    "DTYPES",
    "DeviceLock",
    "DeviceLostError",
    "DeviceMemoryError",
    "capture",
    "device_errors",
    "free_memory",
    "is_lost",
    "is_out_of_memory",
    "keep_freed_memory",
    "peak_memory_mib",
    "read_gpu",
    "settled_dtype",
    "training_dtype",
]
