"""No memory left, or gone: distinguished from bugs."""

import weakref

import pytest
import torch

from trials.device import DeviceLostError, DeviceMemoryError, device_errors, errors
from trials.device.errors import answers, is_lost, is_out_of_memory


def test_a_real_allocation_that_no_machine_can_serve():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError()) and is_out_of_memory(
        torch.cuda.OutOfMemoryError("CUDA out of memory.")
    )
    assert not is_out_of_memory(RuntimeError("a bug")) and not is_out_of_memory(
        ValueError("out of memory")
    )


def test_a_cpu_is_never_lost():
    assert answers("cpu") and not is_lost(RuntimeError("CUDA error: device-side assert"), "cpu")


def test_a_gpu_is_lost_when_it_does_no_sum_any_more(monkeypatch):
    error = RuntimeError("CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA")
    if not torch.cuda.is_available():
        assert not answers("cuda"), "here there is none at all"
    monkeypatch.setattr(errors, "answers", lambda device: False)
    assert is_lost(error, "cuda:0") and not is_lost(torch.cuda.OutOfMemoryError("full"), "cuda:0")
    assert not is_lost(ValueError("a bug"), "cuda:0")
    line = r"cuda:0 no longer does \(CUDA error: unspecified launch failure"
    with pytest.raises(DeviceLostError, match=line) as caught, device_errors("cuda:0"):
        raise error
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(errors, "answers", lambda device: True)
    assert not is_lost(error, "cuda:0"), "an error that leaves the GPU usable is a bug"


def test_failures_of_a_device_become_one_line(monkeypatch):
    freed, held = [], []
    monkeypatch.setattr(errors, "free_memory", lambda: freed.append(held[0]()))

    def fail():
        tensor = torch.ones(2)
        held.append(weakref.ref(tensor))
        torch.empty(2**50)

    line = "8 crops of 128 must fit in the memory of cpu, but it is out of memory; lower --batch"
    with (
        pytest.raises(DeviceMemoryError, match=f"^{line}$"),
        device_errors("cpu", "8 crops of 128", "lower --batch"),
    ):
        fail()
    assert freed == [None], "what the failed call held is released"
    for bug in (RuntimeError("a bug"), ValueError("out of memory")):
        with pytest.raises(type(bug), match=str(bug)), device_errors("cpu"):
            raise bug
