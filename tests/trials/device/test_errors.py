"""No memory left, or gone: told apart from bugs."""

import pytest
import torch

from trials.device import errors as device_errors
from trials.device.errors import DeviceLostError, answers, is_lost, is_out_of_memory, lost


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
    monkeypatch.setattr(device_errors, "answers", lambda device: False)
    assert is_lost(error, "cuda:0") and not is_lost(torch.cuda.OutOfMemoryError("full"), "cuda:0")
    assert not is_lost(ValueError("a bug"), "cuda:0")
    told = lost(error, "cuda:0")
    assert isinstance(told, DeviceLostError) and "\n" not in str(told)
    assert "cuda:0 no longer does (CUDA error: unspecified launch failure" in str(told)
    monkeypatch.setattr(device_errors, "answers", lambda device: True)
    assert not is_lost(error, "cuda:0"), "an error that leaves the GPU usable is a bug"
