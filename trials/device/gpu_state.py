"""A GPU's state while it is timed, by NVML: clocks, temperature, power, and what throttled it.

Needs NVIDIA's `nvidia-ml-py` (pip install "dark-nas[gpu]").
"""

from __future__ import annotations

from typing import Any

import torch

# Bits of NVML's reasons for a clock held down (nvml.h, nvmlClocksEventReason*).
THROTTLES = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


def read_gpu(device: torch.device) -> dict[str, Any] | None:
    """Clocks (MHz), temperature (degrees Celsius), power (W), throttles, number of processes.

    None on a CPU, and where NVML is missing or fails.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        return {
            "sm_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "memory_clock_mhz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_MEM),
            "temperature_c": pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "power_w": pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
            "throttled_by": throttles(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle)),
            "processes": len(pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
        }
    except (pynvml.NVMLError, AttributeError):
        return None


def throttles(reasons: int) -> list[str]:
    """The names of those of NVML's reasons that hold a clock down."""
    return [name for bit, name in THROTTLES.items() if reasons & bit]
