"""The host's memory while a network is timed: kept between runs, in huge pages, and its peak.

By default glibc gives large freed buffers back to the system, and the next run pays for every page
again; whether it does depends on where the heap's top happens to be, so a process is fast or slow
by chance. What is deployed keeps its memory, as jemalloc would. Huge pages take out most of what
is left of that chance.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1
MIB = 2.0**20
# Torch reads this at its first large allocation, so it has to be set on import; a value that the
# user gave stays.
HUGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"
os.environ.setdefault(HUGE_PAGES_VARIABLE, "1")


def keep_freed_memory() -> bool:
    """Has this process keep what it frees, from now on; False where its C library can't (it is not
    glibc).
    """
    libc = _libc()
    try:
        return bool(libc.mallopt(_TRIM_THRESHOLD, _NEVER) and libc.mallopt(_MMAP_MAX, 0))
    except AttributeError:
        return False


def huge_pages_mib() -> float:
    """How much of this process's memory lies in huge pages now; 0 where the system doesn't tell."""
    try:
        return _mib("/proc/self/smaps_rollup", "AnonHugePages")
    except (OSError, KeyError):
        return 0.0


def peak_memory_mib(run: Callable[[], object], device: torch.device) -> float:
    """By how many MiB `run` raises the memory that torch has in use on `device` at its highest.

    On a GPU its allocator tells. On the host the buffers of all tensors that live at once are
    added up after every operation: resident memory can't tell, since what is kept is used again.
    Libraries' scratch space is not in it.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    with _Tally() as tally:
        run()
    return float(tally.peak_bytes) / MIB


class _Tally(TorchDispatchMode):
    """Adds up the storages that operations make, as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {
            _key(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)
        }
        out = func(*args, **(kwargs or {}))
        alive = [item for item in self._live.items() if not item[1][0].expired()]  # type: ignore[no-untyped-call]
        self._live = dict(alive)
        for leaf in tree_leaves(out):
            if (
                isinstance(leaf, torch.Tensor) and _key(leaf) not in given
            ):  # else it is a view of what was there
                storage = leaf.untyped_storage()
                self._live[_key(leaf)] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        return out


def _key(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _mib(file: str, key: str) -> float:
    for line in Path(file).read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) / 1024
    raise KeyError(key)


def _libc() -> ctypes.CDLL:
    with contextlib.suppress(OSError):
        return ctypes.CDLL("libc.so.6")
    return ctypes.CDLL(None)
