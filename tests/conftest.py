"""What all tests share: where the material that the project stands without may lie."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Processes that tests start share the cores with the other workers' (python -m pytest -n).
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# A busy machine makes an example slow, not wrong.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
SHARED = Path(__file__).parents[2] / "shared"


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores, since many tests wait for processes and servers."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests work on tiny networks and crops: more threads would only wait for each other on a busy
    machine.
    """
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def own_priority() -> Iterator[None]:
    """A command that lowers its process's priority, called in a test, would slow down all that
    this worker has still to do: nothing raises it again.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "nice", lambda by: by)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with published checkpoints and real pairs; tests that need it skip where it
    isn't.
    """
    if not SHARED.is_dir():
        pytest.skip(
            f"there is no {SHARED}: the published checkpoints and real pairs are not part "
            f"of the project"
        )
    return SHARED
