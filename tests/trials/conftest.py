"""What tests of trials share; test modules in the folders below import the helpers beside it."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def sid_sample(shared: Path) -> Path:
    """A few real pairs in SID's layout, 512 x 512, which are no part of the repository."""
    return shared / "sid-sample"
