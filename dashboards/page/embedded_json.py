"""Data for the page's script: JSON in <script> elements, which nothing from a study can end."""

from __future__ import annotations

import json
import math
from typing import Any

# "</script>" and "<!--" would be read as HTML; line separators once were no JavaScript.
_ESCAPED = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


def embed_json(name: str, value: Any) -> str:
    """`value` as the element `data-NAME`; numbers that JSON doesn't know (nan, inf) are null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = text.translate(_ESCAPED)
    return f'<script type="application/json" id="data-{name}">{text}</script>'


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
