"""What a GPU was doing while it was timed: clocks, temperature, power and what held it back, by
NVML.

Needs NVIDIA's `nvidia-ml-py` (pip install "dark-nas[gpu]"); without it, or without a GPU, there is
nothing to tell.
"""

from __future__ import annotations

from typing import Any

import torch

# Bits of NVML's clocks event reasons that say that a clock was held down (nvml.h,
# nvmlClocksEventReason*).
THROTTLES = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def read_gpu(device: torch.device) -> dict[str, Any] | None:
    """Clocks (MHz), temperature (degrees Celsius), power (W), throttles and the other processes on
    a GPU.

    None on a CPU, and where NVML can't be asked.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(
            f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        )
        reasons = pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)
        state = {
            "sm_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "temperature_c": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "power_w": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "throttled_by": throttles(reasons),
            "processes": len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        }
    except (pynvml.NVMLError, AttributeError):
        return None
    return state


def throttles(reasons: int) -> list[str]:
    """The names of NVML's reasons, of those that hold a clock down."""
    return [name for bit, name in THROTTLES.items() if reasons & bit]
