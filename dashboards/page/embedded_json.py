"""Data for the page's script: JSON in <script> elements, in which nothing from a study can end the
script.
"""

from __future__ import annotations

import json
import math
from typing import Any

# "</script>" and "<!--" are how JSON could be read as HTML; the line separators were no JavaScript
# once.
_ESCAPED = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def embed_json(name: str, value: Any) -> str:
    """`value` as the element `data-NAME`; numbers that JSON doesn't know (nan, inf) are null."""
    text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'<script type="application/json" id="data-{name}">{_safe(text)}</script>'


def _safe(text: str) -> str:
    for character, code in _ESCAPED.items():
        text = text.replace(character, code)
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
