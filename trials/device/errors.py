"""What a device says when it can't go on: no memory left, or gone."""

from __future__ import annotations

import gc

import torch

from space import InputError

_NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "unable to mmap")


class DeviceLostError(InputError):
    """A device that worked no longer answers: nothing more can run on it in this process."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that the device or the host has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(
        words in str(error).lower() for words in _NO_MEMORY
    )


def free_memory() -> None:
    """Gives back what a failed attempt has left behind."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_lost(error: BaseException, device: str) -> bool:
    """Whether, after `error`, the device no longer does even the smallest sum. A CPU is never
    lost.
    """
    if (
        torch.device(device).type == "cpu"
        or not isinstance(error, RuntimeError)
        or is_out_of_memory(error)
    ):
        return False
    return not answers(device)


def answers(device: str) -> bool:
    """Whether the device still does a sum."""
    try:
        return float(torch.ones(2, device=device).sum()) == 2.0
    except (RuntimeError, AssertionError):  # the latter from a torch that was built without CUDA
        return False


def lost(error: BaseException, device: str) -> DeviceLostError:
    """The one line for a device that has vanished under `error`."""
    why = " ".join(str(error).split())[:160]
    return DeviceLostError(
        f"the device must answer until the end, but {device} no longer does ({why}); see whether "
        "nvidia-smi still lists it, then run the same command again: it goes on"
    )
