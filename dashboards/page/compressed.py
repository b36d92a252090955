"""Many small texts that resemble each other, compressed a few dozen at a time: 2,000 drawings of
8 kB take 1.6 MB of a page. The page inflates a group when it needs one of its texts.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

# Texts in a group: more are smaller together, but all of a group is inflated to show one.
GROUP_SIZE = 40


def compress(texts: Sequence[str]) -> list[str]:
    """Groups of GROUP_SIZE texts each as JSON lists, deflated, in base64; text n is in group
    n // GROUP_SIZE.
    """
    groups = (texts[start : start + GROUP_SIZE] for start in range(0, len(texts), GROUP_SIZE))
    return [
        base64.b64encode(zlib.compress(json.dumps(list(group)).encode(), 9)).decode("ascii")
        for group in groups
    ]
