"""The host's memory: kept, and its peak measured."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trials.device.memory import huge_pages_mib, keep_freed_memory, peak_memory_mib

CPU = torch.device("cpu")


def test_the_peak_is_what_a_run_touches_at_once():
    def run():
        first = torch.ones(20 * 2**18)  # 20 MiB
        second = torch.ones(10 * 2**18)
        del first
        return second.sum() + torch.ones(5 * 2**18).sum()

    assert keep_freed_memory()
    kept = [
        torch.ones(k * 2**18) for k in range(1, 40)
    ]  # a heap full of pages that could be used again
    del kept[::2]
    run()
    assert peak_memory_mib(run, CPU) == pytest.approx(30, abs=0.1)
    assert peak_memory_mib(lambda: None, CPU) == 0
    before = torch.ones(8 * 2**18)
    assert peak_memory_mib(lambda: before.view(2, -1).transpose(0, 1), CPU) == 0, (
        "a view takes nothing"
    )
    assert peak_memory_mib(lambda: before.add_(1), CPU) == 0, "nor does what is done in place"


def test_a_run_that_follows_pays_no_page_faults():
    """Counted, not timed: by default glibc gives 40 MiB back after each run, and 10,000 pages are
    touched anew each time.
    """
    code = """
import resource, sys, torch
from trials.device.memory import keep_freed_memory
if sys.argv[1] == "keeps":
    keep_freed_memory()
def run():
    return torch.ones(10 * 2**20).sum()
for _ in range(10):
    run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

    def faults(word):
        env = {**os.environ, "THP_MEM_ALLOC_ENABLE": "0"}
        return int(
            subprocess.run(
                [sys.executable, "-c", code, word],
                capture_output=True,
                text=True,
                check=True,
                env=env,
            ).stdout
        )

    # A block that does not fit where the last one lay goes to a new place now and then, and pays
    # for that once.
    assert 4 * faults("keeps") < faults("usual")


def test_huge_pages_are_counted():
    assert huge_pages_mib() >= 0.0
    enabled = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    if "[never]" not in enabled:
        held = torch.ones(64 * 2**18)
        assert held.sum() > 0 and huge_pages_mib() > 8
