"""A device without memory, or gone: recognised, and raised as one-line errors."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from space import InputError

_NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "unable to mmap")


class DeviceLostError(InputError):
    """A device that worked no longer answers: nothing more can run on it in this process."""


class DeviceMemoryError(InputError):
    """The device, or the host, has too little memory for what was run."""


@contextmanager
def device_errors(
    device: str, what: str = "the work", advice: str = "make it smaller"
) -> Iterator[None]:
    """Inside, a failure of the device becomes DeviceMemoryError or DeviceLostError.

    `what` should have fitted in the memory, `advice` says what a user can change. Cached memory is
    freed before DeviceMemoryError is raised. All other errors pass unchanged.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            traceback.clear_frames(error.__traceback__)  # or the failed calls' tensors stay
            free_memory()
            raise DeviceMemoryError(
                f"{what} must fit in the memory of {device}, but it is out of memory; {advice}"
            ) from error
        if is_lost(error, device):
            why = " ".join(str(error).split())[:160]
            raise DeviceLostError(
                f"the device must answer until the end, but {device} no longer does ({why}); see "
                "whether nvidia-smi still lists it, then run the same command again: it goes on"
            ) from error
        raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device or the host has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    message = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in message for words in _NO_MEMORY)


def free_memory() -> None:
    """Frees what a failed attempt left behind, torch's cache on the GPUs included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_lost(error: BaseException, device: str) -> bool:
    """Whether the device, after `error`, no longer computes anything. A CPU is never lost."""
    if torch.device(device).type == "cpu" or not isinstance(error, RuntimeError):
        return False
    return not is_out_of_memory(error) and not answers(device)


def answers(device: str) -> bool:
    """Whether the device still computes a sum."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except (RuntimeError, AssertionError):  # the latter from a torch that was built without CUDA
        return False
