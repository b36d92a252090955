"""Many small texts that resemble each other, deflated a few dozen at a time: 2,000 drawings of 8
kB take 1.6 MB of a page.

The page inflates a pack (DecompressionStream, "deflate") when it needs one of its texts.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

# Texts in a pack: more are smaller together, but all of a pack is inflated to show one.
TOGETHER = 40


def compress(texts: Sequence[str], together: int = TOGETHER) -> list[str]:
    """Packs of `together` texts each: JSON lists, deflated, in base64. Text n is in pack n //
    together.
    """
    groups = (texts[start : start + together] for start in range(0, len(texts), together))
    return [
        base64.b64encode(zlib.compress(json.dumps(list(group)).encode(), 9)).decode("ascii")
        for group in groups
    ]


def decompress(compressed: Sequence[str]) -> list[str]:
    """The texts again, in their order."""
    return [
        text for one in compressed for text in json.loads(zlib.decompress(base64.b64decode(one)))
    ]
