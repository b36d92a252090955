"""What a GPU was doing: read by NVML where there is one. Here the reading is checked against
NVML's own names.
"""

import sys
from types import SimpleNamespace

import pytest
import torch

from trials.device.gpu_state import read_gpu, throttles


def test_a_cpu_has_no_gpu_state():
    assert read_gpu(torch.device("cpu")) is None


def test_throttles_are_named():
    assert throttles(0x1) == []  # idle
    assert throttles(0x4 | 0x40) == ["software power cap", "hardware thermal slowdown"]


def test_without_nvml_there_is_nothing_to_tell(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_gpu(torch.device("cuda")) is None


def test_what_nvml_says_is_stored_with_units(monkeypatch):
    """No GPU runs here: NVML's calls by their documented names, units (mW, MHz) and the GPU's
    UUID.
    """
    asked = []

    class NVMLError(Exception):
        pass

    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: asked.append(uuid) or "handle",
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x8,
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1755, 2: 2619}[kind],
        nvmlDeviceGetTemperature=lambda handle, sensor: 61,
        nvmlDeviceGetPowerUsage=lambda handle: 412_500,
        nvmlDeviceGetComputeRunningProcesses=lambda handle: [object()],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="ab-12")
    )
    state = read_gpu(torch.device("cuda:0"))
    assert state == {
        "sm_clock_mhz": 1755,
        "memory_clock_mhz": 2619,
        "temperature_c": 61,
        "power_w": 412.5,
        "throttled_by": ["hardware slowdown"],
        "processes": 1,
    }
    assert asked == ["GPU-ab-12"]
    nvml.nvmlDeviceGetTemperature = lambda *_: (_ for _ in ()).throw(NVMLError("lost"))
    assert read_gpu(torch.device("cuda:0")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_tells_its_state():
    pytest.importorskip("pynvml")
    state = read_gpu(torch.device("cuda"))
    assert state is not None and state["sm_clock_mhz"] > 0 and 0 < state["temperature_c"] < 120
