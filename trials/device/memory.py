"""The host's memory while a network is timed: retained between runs, in huge pages, and its peak.

By default glibc gives large freed buffers back to the system, and the next run pays for every page
again; whether it does depends on where the heap's top happens to be, so a process is fast or slow
by chance. A deployed program retains its memory, as jemalloc does. Huge pages remove most of the
remaining chance.
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
# Torch reads this at its first large allocation, so it is set on import; a user's value stays.
HUGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"
os.environ.setdefault(HUGE_PAGES_VARIABLE, "1")


def keep_freed_memory() -> bool:
    """Makes this process retain what it frees; False where its C library (not glibc) can't."""
    libc = ctypes.CDLL(None)
    with contextlib.suppress(OSError):
        libc = ctypes.CDLL("libc.so.6")
    try:
        return bool(libc.mallopt(_TRIM_THRESHOLD, _NEVER) and libc.mallopt(_MMAP_MAX, 0))
    except AttributeError:
        return False


def huge_pages_mib() -> float:
    """How much of this process's memory is in huge pages; 0 where the system doesn't say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "AnonHugePages":
                return int(value.split()[0]) / 1024
    return 0.0


def peak_memory_mib(run: Callable[[], object], device: torch.device) -> float:
    """By how many MiB `run` raises the memory that torch uses on `device` at its highest.

    On a GPU its allocator counts. On the host the storages that live at once are added up after
    every operation: resident memory does not show them, since freed memory is retained. Scratch
    space of libraries is not included.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    with _LiveStorages() as live:
        run()
    return float(live.peak_bytes) / MIB


class _LiveStorages(TorchDispatchMode):
    """Adds up the storages that operations allocate, as long as they live."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak_bytes = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = {key for key, _ in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        alive = [item for item in self._live.items() if not item[1][0].expired()]  # type: ignore[no-untyped-call]
        self._live = dict(alive)
        for key, storage in _storages(result):
            if key not in inputs:  # else it is a view
                self._live[key] = (StorageWeakRef(storage), storage.nbytes())  # type: ignore[no-untyped-call]
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self._live.values()))
        return result


def _storages(tree: Any) -> list[tuple[int, torch.UntypedStorage]]:
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tree) if torch.is_tensor(leaf)]
    return [(int(storage._cdata), storage) for storage in storages]
