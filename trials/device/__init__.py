"""The device that a trial runs on: its lock, memory, precision and errors."""

from trials.device.cuda_graph import capture
from trials.device.errors import DeviceLostError, DeviceMemoryError, device_errors
from trials.device.lock import DeviceLock
from trials.device.memory import keep_freed_memory
from trials.device.precision import training_dtype

__all__ = [
    "DeviceLock",
    "DeviceLostError",
    "DeviceMemoryError",
    "capture",
    "device_errors",
    "keep_freed_memory",
    "training_dtype",
]
