"""The host's memory while a network is timed: kept between runs, in huge pages, and its peak.

By default glibc gives large freed buffers back to the system, and the next run pays for every page again; whether it
does depends on where the heap's top happens to be, so a process is fast or slow by chance. What is deployed keeps its
memory, as jemalloc would. Huge pages take out most of what is left of that chance.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import torch

# Parameters of glibc's mallopt, from its malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
_USUAL_MMAP_MAX = 65536
# Buffers from this size on, in bytes, are counted in a peak.
_COUNTED = 64 * 1024
_PEAK_RESET = "5"  # written to /proc/self/clear_refs: see proc(5)
MIB = 2.0**20
# Torch reads this at its first large allocation, so it has to be set on import; a value that the user gave stays.
HUGE_PAGES_VARIABLE = "THP_MEM_ALLOC_ENABLE"
os.environ.setdefault(HUGE_PAGES_VARIABLE, "1")


def keep_freed_memory() -> bool:
    """Has this process keep what it frees, from now on; False where its C library can't (it is not glibc)."""
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


def peak_memory_mib(run: Callable[[], object], device: torch.device) -> float | None:
    """By how many MiB `run` raises the memory in use on `device` at its highest; None where that can't be read.

    On the host it is the process's resident memory, libraries' scratch space included; on a GPU what torch allocates.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    try:
        # For this run each buffer is fresh from the system and goes back at once: what was kept would not be seen again.
        libc = _libc()
        libc.mallopt(_MMAP_THRESHOLD, _COUNTED)
        libc.mallopt(_MMAP_MAX, _USUAL_MMAP_MAX)
        Path("/proc/self/clear_refs").write_text(_PEAK_RESET)
        before_mib = _mib("/proc/self/status", "VmRSS")
        run()
        return max(0.0, _mib("/proc/self/status", "VmHWM") - before_mib)
    except (OSError, AttributeError, KeyError):
        return None
    finally:
        keep_freed_memory()


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
