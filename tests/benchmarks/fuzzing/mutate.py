"""Mutations: of trees (what JSON and TOML hold) and of bytes. All chance comes from the
`random.Random` that is given.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

# What takes a value's place.
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    7,
    64,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.5,
    1.0,
    3.0,
    -0.0,
    -2.5,
    1e308,
    5e-324,
    "",
    "x",
    "\0",
    "a\nb",
    "\x1b[2J",
    "../../outside/secret",
    "/etc/passwd",
    "C:\\x",
    "~nobody-is-called-this/x",
    "é漢\u202e\U0001f600",
    "A" * 300,
    "A" * 5000,
    "true",
    "1",
    [],
    {},
    [[]],
    [1, 2, 3],
    {"a": 1},
    {"schema": 1},
]
# Texts that take a value's place as they are, whether JSON or not.
RAW_JSON = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-1e999",
    "9" * 5000,
    "-" + "9" * 400,
    "[" * 1000 + "]" * 1000,
    "[" * 100_000,
    "[" * 900 + "]" * 900,
    '{"a":' * 900 + "1" + "}" * 900,
    '{"a":' * 1000 + "1" + "}" * 1000,
    '"\\ud800"',
    '"\\u0000"',
    "0x10",
    "01",
    "1.",
    "'x'",
    "null, null",
    "-0",
    "1e-400",
    "18446744073709551616",
    "truE",
    "",
    "// no",
    '"' + "A" * 100_000 + '"',
]
RAW_TOML = [
    "nan",
    "inf",
    "-inf",
    "1e999",
    "9" * 5000,
    "0x" + "F" * 5000,
    "-0x1",
    "[" * 1000 + "]" * 1000,
    "[" * 20_000,
    "[" * 300 + "]" * 300,
    "{a=" * 300 + "1" + "}" * 300,
    "1979-05-27",
    "07:32:00",
    "1979-05-27T07:32:00Z",
    "'''a\nb'''",
    "0b101",
    "1_000",
    "0o17",
    "",
    "null",
    "True",
    '"\\ud800"',
    '"\\u0000"',
    "1e-400",
    "[1, 2",
    '"' + "A" * 50_000 + '"',
]
HUGE = 10_000_000
WORDS = [
    "schema",
    "name",
    "__class__",
    "branches",
    "source",
    "é漢",
    "",
    "a.b",
    "A" * 400,
    "x\ny",
    "../x",
]


class Tree:
    """A copy of a tree that is changed step by step, and its text as JSON or TOML."""

    def __init__(
        self, value: Any, chance: random.Random, choices: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        self.value = copy.deepcopy(value)
        self.chance = chance
        self.choices = choices or {}
        self._raw: dict[str, str] = {}

    def mutate(self, raw: Sequence[str]) -> None:
        """One change somewhere: more often a mild one than a wild one."""
        chance = self.chance
        places = list(_places(self.value))
        if not places:
            return
        holder, key = chance.choice(places)
        kind = chance.choices(
            (
                "choose",
                "tweak",
                "drop",
                "replace",
                "raw",
                "retype",
                "rename",
                "twice",
                "swap",
                "add",
                "nest",
            ),
            (14, 5, 4, 3, 3, 2, 1, 1, 2, 1, 1),
        )[0]
        value = holder[key]
        if kind == "choose":
            near = [(h, k) for h, k in places if k in self.choices]
            if near:
                holder, key = chance.choice(near)
                holder[key] = chance.choice(self.choices[key])
        elif kind == "tweak" and isinstance(value, (int, float)) and not isinstance(value, bool):
            holder[key] = chance.choice(
                [value + 1, value - 1, value * 2, -value, value // 2, value * 1000, value * 10**12]
            )
        elif kind == "drop":
            del holder[key]
        elif kind == "replace":
            holder[key] = chance.choice(VALUES)
        elif kind == "raw":
            holder[key] = self._marker(
                '"' + "A" * HUGE + '"' if chance.random() < 0.004 else chance.choice(raw)
            )
        elif kind == "retype":
            holder[key] = _retyped(value, chance)
        elif kind == "rename" and isinstance(holder, dict):
            holder[chance.choice(WORDS)] = holder.pop(key)
        elif kind == "twice" and isinstance(holder, dict):
            holder[self._marker(json.dumps(key))] = chance.choice([value, *VALUES[:8]])
        elif kind == "swap":
            other, there = chance.choice(places)
            holder[key], other[there] = copy.deepcopy(other[there]), copy.deepcopy(value)
        elif kind == "add" and isinstance(holder, dict):
            holder[chance.choice(WORDS)] = chance.choice(VALUES)
        elif kind == "nest":
            holder[key] = chance.choice([[value], {"a": value}, [value, value]])

    def json(self) -> str:
        """As JSON, or what was put in its place."""
        return self._placed(json.dumps(self.value, indent=self.chance.choice([None, 1])))

    def toml(self) -> str:
        """As TOML: keys of the top, then tables."""
        top = {key: value for key, value in self.value.items() if not isinstance(value, dict)}
        parts = [
            _table(top),
            *(
                f"[{_key(name)}]\n{_table(table)}"
                for name, table in self.value.items()
                if name not in top
            ),
        ]
        return self._placed("\n".join(parts))

    def _marker(self, text: str) -> str:
        name = f"@@{len(self._raw)}@@"
        self._raw[name] = text
        return name

    def _placed(self, text: str) -> str:
        for name, raw in self._raw.items():
            text = text.replace(f'"{name}"', raw)
        return text


def damaged(data: bytes, chance: random.Random, within: int | None = None) -> bytes:
    """`data` with some bytes flipped, cut, put in or repeated, in its first `within` bytes."""
    end = min(len(data), within or len(data))
    out = bytearray(data)
    at = chance.randrange(end + 1)
    kind = chance.choice(("flip", "flip", "bits", "cut", "insert", "delete", "repeat", "fill"))
    size = chance.choice((1, 1, 2, 4, 16, 64))
    if kind in ("flip", "bits"):
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            place = chance.randrange(end) if end else 0
            if place < len(out):
                out[place] = (
                    chance.randrange(256)
                    if kind == "flip"
                    else out[place] ^ (1 << chance.randrange(8))
                )
    elif kind == "cut":
        del out[at:]
    elif kind == "insert":
        out[at:at] = chance.choice(
            [
                chance.randbytes(size),
                b"\0" * size,
                b"\xff" * size,
                b"../",
                b"\xef\xbb\xbf",
                b"\r\n",
            ]
        )
    elif kind == "delete":
        del out[at : at + size]
    elif kind == "repeat":
        out[at:at] = out[at : at + 8 * size]
    else:
        out[at : at + size] = chance.choice([b"\0", b"\xff", b"\x7f", b"\x80"]) * size
    return bytes(out)


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for key in (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    ):
        found.append((value, key))
        found += _places(value[key])
    return found


def _retyped(value: Any, chance: random.Random) -> Any:
    others: list[Any] = [str(value), [value], bool(value), None]
    if isinstance(value, (int, float)):
        others += [float(value), int(value), value == 1]
    return chance.choice(others)


def _table(values: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {_toml(value)}\n" for key, value in values.items())


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else json.dumps(key)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def toml_of(values: Mapping[str, Any]) -> str:
    """`values` as TOML; keys that are None are left out, as a study's file does."""
    plain = {
        key: {k: v for k, v in value.items() if v is not None}
        if isinstance(value, dict)
        else value
        for key, value in values.items()
        if value is not None
    }
    return Tree(plain, random.Random(0)).toml()
