"""JSON from outside, taken strictly: what Python's reader would let pass or stumble over is
refused in words.

Python takes the last of two equal keys, reads NaN and 1e999 as numbers, and keeps halves of
characters that no file can hold; it raises something else where lists are nested too deeply or a
number has thousands of digits.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from space.errors import brief


def loads(text: str) -> Any:
    """The value of `text`; ValueError, which says what is wrong in one line, where it is no JSON
    or not plain.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_once, parse_constant=_refuse, parse_float=_finite
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no character") from None
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {brief(twice)} is there twice")
    return found


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value
