"""Many similar small texts, compressed in groups: 2,000 drawings of 8 kB take 1.6 MB of a page."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

# Texts in a group: more are smaller together, but the page inflates a whole group to show one.
GROUP_SIZE = 40


def compress(texts: Sequence[str]) -> list[str]:
    """JSON lists of GROUP_SIZE texts, deflated, in base64; text n is in list n // GROUP_SIZE."""
    groups = (texts[start : start + GROUP_SIZE] for start in range(0, len(texts), GROUP_SIZE))
    return [
        base64.b64encode(zlib.compress(json.dumps(list(group)).encode(), 9)).decode("ascii")
        for group in groups
    ]
