"""Real photos that lie beside the repository and are not part of it; tests that need them skip
where they are not.
"""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[3] / "shared"
SID_SAMPLE = SHARED / "sid-sample"

needs_sid_sample = pytest.mark.skipif(not SID_SAMPLE.is_dir(), reason=f"no {SID_SAMPLE}")
