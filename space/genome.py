"""What one network is: a frozen, canonical description that survives JSON and has a digest.

A genome is canonical: genes that don't act (the growth of a branch without dense blocks, the
fusion of a single branch) are dropped when it is made, so that two genomes are equal exactly when
their networks are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn, Self, TypeVar

from space.blocks import BLOCKS, PLAIN_BLOCKS
from space.errors import InputError, brief

T = TypeVar("T")
SCHEMA = 1
SCALES = (8, 16, 32, 64)
FUSIONS = ("concat", "sum", "dual", "cascade")
HEADS = ("none", "add", "concat")
PACKED_CHANNELS = 64  # channels of the mosaic packed at 8x: 8 * 8 * 1
RGB_CHANNELS_2X = 12  # channels at 2x that one pixel shuffle turns into RGB: 2 * 2 * 3


def _check(rule: str, holds: bool, value: object, remedy: str = "change this gene") -> None:
    if not holds:
        raise InputError(f"genome: {rule}, but got {brief(value)}; {remedy}")


def _check_int(name: str, value: object, low: int, high: int) -> None:
    holds = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _check(f"{name} must be a whole number from {low} to {high}", holds, value)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _check(f"{name} must be one of {', '.join(choices)}", value in choices, value)


def _check_kernel(name: str, value: object, sides: tuple[int, ...]) -> None:
    words = f"{', '.join(map(str, sides[:-1]))} or {sides[-1]}"
    _check(f"{name} must be {words}", type(value) is int and value in sides, value)


def _check_bool(name: str, value: object) -> None:
    _check(f"{name} must be true or false", isinstance(value, bool), value)


class _Canonical:
    """Lets a frozen dataclass settle its own fields while it is made."""

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _drop(self, *names: str) -> None:
        for name in names:
            self._set(name, None)


@dataclass(frozen=True, kw_only=True)
class Branch(_Canonical):
    """A deep branch: a stem that packs the mosaic down to `scale`, a chain of blocks, the way up.

    Fields: `scale` the down-sampling relative to the mosaic (8, 16, 32 or 64); `width` channels of
    its features, a multiple of (scale / 8) ** 2 so that a pixel shuffle can upsample it to 8x;
    `stem_groups` the groups of the stem's first convolution (a divisor of scale ** 2 and of 2 *
    width); `block` the kind of its chain's blocks (space.blocks.BLOCKS); `blocks` their number, 0
    to 8; `layers` convolutions in each dense block and `first_layers` in the first one; `growth`
    channels that each of them adds; `refine` one more block after the branch is upsampled.

    Source: Lamba and Mitra, "Restoring Extremely Dark Images in Real Time", CVPR 2021 (stem and
    chain).
    """

    scale: int
    width: int
    stem_groups: int
    block: str | None = None
    blocks: int
    layers: int | None = None
    first_layers: int | None = None
    growth: int | None = None
    refine: bool = False

    def __post_init__(self) -> None:
        scale, groups = self.scale, self.stem_groups
        holds = scale in SCALES and type(scale) is int
        _check(f"scale must be one of {', '.join(map(str, SCALES))}", holds, scale)
        where, shuffle = f"branch {scale}x ", (scale // 8) ** 2
        _check_int(where + "width", self.width, 1, 512)
        rule = f"{where}width must be a multiple of {shuffle}"
        _check(rule, self.width % shuffle == 0, self.width)
        _check_int(where + "stem_groups", groups, 1, scale**2)
        divides = scale**2 % groups == 0 and 2 * self.width % groups == 0
        _check(f"{where}stem_groups must divide {scale**2} and {2 * self.width}", divides, groups)
        _check_int(where + "blocks", self.blocks, 0, 8)
        _check_bool(where + "refine", self.refine)
        if self.blocks == 0 and not self.refine:
            self._drop("block")
        else:
            _check_choice(where + "block", self.block, tuple(BLOCKS))
        if self.block is None or not BLOCKS[self.block].is_dense:
            self._drop("layers", "first_layers", "growth")
            return
        _check_int(where + "layers", self.layers, 1, 12)
        _check_int(where + "growth", self.growth, 1, 128)
        if self.blocks == 0:
            self._drop("first_layers")
            return
        if self.first_layers is None:
            self._set("first_layers", self.layers)
        elif self.blocks == 1 and not self.refine:
            # The only block is the first one: one spelling for one network.
            self._set("layers", self.first_layers)
        _check_int(where + "first_layers", self.first_layers, 1, 12)


@dataclass(frozen=True, kw_only=True)
class Genome(_Canonical):
    """One network of the design space, canonical.

    Fields: `branches` the deep branches (any subset of 8x, 16x, 32x, 64x; may be empty), from fine
    to coarse; `deep_width` channels in which they are fused at 8x; `fusion` how two or more are
    fused ("concat", "sum", "dual": M2's, of refined and unrefined branches, "cascade": each branch
    is upsampled into the next finer one); `skip_width`, `skip_block`, `skip_blocks` the
    trunk at 8x; `merge_width` (0: one convolution), `merge_groups`, `merge_shuffle`,
    `expand_kernel` the merge of trunk and deep features and its way up, to 2x or to a stage at 4x;
    `fine_width` that stage's channels (None or 0: no stage, as published), `fine_block`,
    `fine_blocks`, and `fine_kernel` of its way up to 2x; `head` what joins there ("none", "add" a
    convolution of the packed mosaic, "concat" the published head), with `head_kernel`,
    `head_width`, and `merge_channels` that the merge brings along.

    Raises InputError where a gene is unknown, missing or out of its range.
    """

    branches: tuple[Branch, ...] = ()
    deep_width: int | None = None
    fusion: str | None = None
    skip_width: int
    skip_block: str | None = None
    skip_blocks: int
    merge_width: int
    merge_groups: int | None = None
    merge_shuffle: bool = False
    expand_kernel: int = 3
    fine_width: int | None = None
    fine_block: str | None = None
    fine_blocks: int | None = None
    fine_kernel: int | None = None
    head: str
    head_kernel: int | None = None
    head_width: int | None = None
    merge_channels: int | None = None

    def __post_init__(self) -> None:
        for branch in self.branches:
            rule, remedy = "branches must be Branch objects", "make them with space.Branch"
            _check(rule, isinstance(branch, Branch), branch, remedy)
        scales = [branch.scale for branch in self.branches]
        once = len(set(scales)) == len(scales)
        _check("every scale may be used by one branch only", once, scales, "remove one of the two")
        self._set("branches", tuple(sorted(self.branches, key=lambda branch: branch.scale)))
        self._settle_deep()
        self._settle_trunk_and_merge()
        self._settle_fine()
        self._settle_head()

    def _settle_deep(self) -> None:
        if self.branches:
            _check_int("deep_width", self.deep_width, 1, 512)
        else:
            self._drop("deep_width")
        if len(self.branches) < 2:
            self._drop("fusion")
            return
        _check_choice("fusion", self.fusion, FUSIONS)
        if self.fusion == "dual" and not any(branch.refine for branch in self.branches):
            self._set("fusion", "concat")  # nothing refined: both halves would be the same

    def _settle_trunk_and_merge(self) -> None:
        _check_int("skip_width", self.skip_width, 1, 512)
        _check_int("skip_blocks", self.skip_blocks, 0, 8)
        if self.skip_blocks:
            _check_choice("skip_block", self.skip_block, PLAIN_BLOCKS)
        else:
            self._drop("skip_block")
        _check_int("merge_width", self.merge_width, 0, 512)
        _check_kernel("expand_kernel", self.expand_kernel, (1, 3))
        _check_bool("merge_shuffle", self.merge_shuffle)
        if self.merge_width == 0:
            self._drop("merge_groups")
            self._set("merge_shuffle", False)
            return
        _check_int("merge_groups", self.merge_groups, 1, 64)
        assert self.merge_groups is not None
        widths = (self.merge_inputs, self.merge_width)
        divides = all(width % self.merge_groups == 0 for width in widths)
        rule = f"merge_groups must divide {widths[0]} and {widths[1]}"
        _check(rule, divides, self.merge_groups)
        if self.merge_groups == 1:  # ungrouped: it sees every channel, in whatever order
            self._set("merge_shuffle", False)
        _check(
            "merge_shuffle needs an even number of channels",
            not self.merge_shuffle or self.merge_inputs % 2 == 0,
            self.merge_inputs,
            "set merge_shuffle to false",
        )

    def _settle_fine(self) -> None:
        if self.fine_width is None or (self.fine_width == 0 and type(self.fine_width) is int):
            self._drop("fine_width", "fine_block", "fine_blocks", "fine_kernel")
            return
        _check_int("fine_width", self.fine_width, 0, 512)
        _check_int("fine_blocks", self.fine_blocks, 0, 8)
        _check_kernel("fine_kernel", self.fine_kernel, (1, 3))
        if self.fine_blocks:
            _check_choice("fine_block", self.fine_block, PLAIN_BLOCKS)
        else:
            self._drop("fine_block")

    def _settle_head(self) -> None:
        _check_choice("head", self.head, HEADS)
        if self.head == "none":
            self._drop("head_kernel")
        else:
            _check_kernel("head_kernel", self.head_kernel, (1, 3, 5))
        if self.head != "concat":
            self._drop("head_width", "merge_channels")
            return
        _check_int("head_width", self.head_width, 1, 64)
        _check_int("merge_channels", self.merge_channels, 1, 64)

    @property
    def merge_inputs(self) -> int:
        """Channels at 8x that enter the merge: the trunk's and the deep branches'."""
        return self.skip_width + (self.deep_width or 0)

    @property
    def channels_2x(self) -> int:
        """Channels at 2x that reach the head."""
        return RGB_CHANNELS_2X if self.merge_channels is None else self.merge_channels

    @property
    def size_multiple(self) -> int:
        """Height and width of the mosaic must be multiples of this many pixels."""
        return max([8, *(branch.scale for branch in self.branches)])

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits, equal exactly when two genomes are (SHA-256 of the JSON)."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The acting genes as plain JSON values, with the schema number."""
        genes = _acting(self)
        genes["branches"] = [_acting(branch) for branch in self.branches]
        return {"schema": SCHEMA, **genes}

    def to_json(self, *, indent: int | None = None) -> str:
        """The genome as JSON, keys sorted, so that equal genomes give equal texts."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=indent)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The genome of `to_dict`; InputError names a gene that is unknown or out of range."""
        if not isinstance(values, Mapping):
            raise InputError(
                f"a genome must be a JSON object, but got {brief(values)}; "
                "see python -m nas.describe MO --json"
            )
        genes = dict(values)
        schema = genes.pop("schema", None)
        holds = schema == SCHEMA and type(schema) is int
        remedy = "it was written by a newer or another program: upgrade this one"
        _check(f"schema must be {SCHEMA}", holds, schema, remedy)
        branches = genes.pop("branches", [])
        _check("branches must be a list", isinstance(branches, (list, tuple)), branches)
        made = tuple(_make(Branch, branch, "branch gene") for branch in branches)
        return _make(cls, {**genes, "branches": made}, "gene")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The genome in `text`; InputError where it is no JSON or no genome."""
        try:
            values = read_json(text)
        except ValueError as error:
            raise InputError(
                f"a genome must be JSON, but reading it gave: {error}; "
                "see python -m nas.describe MO --json"
            ) from error
        return cls.from_dict(values)


def _acting(genes: Genome | Branch) -> dict[str, Any]:
    values = {field.name: getattr(genes, field.name) for field in dataclasses.fields(genes)}
    return {name: value for name, value in values.items() if value is not None}


def _make(kind: type[T], values: Any, what: str) -> T:
    _check("every branch must be a JSON object", isinstance(values, Mapping), values)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            names = ", ".join(fields)
            raise InputError(f"genome: unknown {what} {brief(name)}; there are {names}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in values:
            names = ", ".join(fields)
            raise InputError(f"genome: {what} {name!r} is missing; there must be {names}")
    return kind(**values)


def read_json(text: str) -> Any:
    """The value of JSON from outside, strictly; ValueError says in one line what is wrong.

    Python takes the last of two equal keys, reads NaN and 1e999 as numbers, and keeps halves of
    characters that no file can hold; it raises something else where lists are nested too deeply or
    a number has thousands of digits.
    """
    try:
        value = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_refuse, parse_float=_finite
        )
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair, which is no character") from None
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"the key {brief(key)} is there twice")
        values[key] = value
    return values


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"the number {digits[:40]} is too large")
    return value
