"""What one network is: a frozen, canonical description that survives JSON and has a digest.

A genome is canonical: genes that don't act (the growth of a branch without dense blocks, the
fusion of a single branch) are dropped when it is made, so that two genomes are equal exactly when
their networks are.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self, TypeVar

from space import strict_json
from space.errors import InputError, brief

T = TypeVar("T")
SCHEMA = 1
SCALES = (8, 16, 32, 64)
BLOCKS = ("rdb", "residual", "rep")
FUSIONS = ("concat", "sum", "dual", "cascade")
HEADS = ("none", "add", "concat")
PACKED_CHANNELS = 64  # channels of the mosaic packed at 8x: 8 * 8 * 1
RGB_CHANNELS_2X = 12  # channels at 2x that one pixel shuffle turns into RGB: 2 * 2 * 3


def _check(rule: str, holds: bool, value: object, remedy: str) -> None:
    if not holds:
        raise InputError(f"{rule}, but got {brief(value)}; {remedy}")


def _check_int(name: str, value: object, low: int, high: int) -> None:
    right = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    _check(
        f"genome: {name} must be a whole number from {low} to {high}",
        right,
        value,
        "change this gene",
    )


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    _check(
        f"genome: {name} must be one of {', '.join(choices)}",
        value in choices,
        value,
        "change this gene",
    )


def _check_kernel(name: str, value: object, sides: tuple[int, ...]) -> None:
    words = f"{', '.join(map(str, sides[:-1]))} or {sides[-1]}"
    _check(
        f"genome: {name} must be {words}",
        type(value) is int and value in sides,
        value,
        "change this gene",
    )


def _check_bool(name: str, value: object) -> None:
    _check(
        f"genome: {name} must be true or false", isinstance(value, bool), value, "change this gene"
    )


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A deep branch: a stem that packs the mosaic down to `scale`, a chain of blocks, and the way
    back up.

    Fields: `scale` the down-sampling relative to the mosaic (8, 16, 32 or 64); `width` channels of
    its features, a multiple of (scale / 8) ** 2 so that a pixel shuffle can bring it to 8x;
    `stem_groups` the groups of the stem's first convolution (a divisor of scale ** 2 and of 2 *
    width); `block` what the chain is made of ("rdb" residual dense, "residual" plain residual,
    "rep" a 3x3 that is several branches while training and one for inference); `blocks` their
    number, 0 to 8; `layers` convolutions in each dense block and `first_layers` in the first one;
    `growth` channels that each of them adds; `refine` one more block after the branch is brought
    up.

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
        _check(
            "genome: scale must be one of 8, 16, 32, 64",
            self.scale in SCALES and type(self.scale) is int,
            self.scale,
            "change this gene",
        )
        where = f"branch {self.scale}x "
        shuffle = (self.scale // 8) ** 2
        _check_int(where + "width", self.width, 1, 512)
        _check(
            f"genome: {where}width must be a multiple of {shuffle}",
            self.width % shuffle == 0,
            self.width,
            "change this gene",
        )
        _check_int(where + "stem_groups", self.stem_groups, 1, self.scale**2)
        divides = self.scale**2 % self.stem_groups == 0 and 2 * self.width % self.stem_groups == 0
        _check(
            f"genome: {where}stem_groups must divide {self.scale**2} and {2 * self.width}",
            divides,
            self.stem_groups,
            "change this gene",
        )
        _check_int(where + "blocks", self.blocks, 0, 8)
        _check_bool(where + "refine", self.refine)
        if self.blocks == 0 and not self.refine:
            self._drop("block")
        else:
            _check_choice(where + "block", self.block, BLOCKS)
        if self.block != "rdb":
            self._drop("layers", "first_layers", "growth")
            return
        _check_int(where + "layers", self.layers, 1, 12)
        _check_int(where + "growth", self.growth, 1, 128)
        if self.blocks == 0:
            self._drop("first_layers")
        elif self.blocks == 1 and not self.refine and self.first_layers is not None:
            # The only block is the first one: one spelling for one network.
            object.__setattr__(self, "layers", self.first_layers)
        if self.blocks:
            if self.first_layers is None:
                object.__setattr__(self, "first_layers", self.layers)
            _check_int(where + "first_layers", self.first_layers, 1, 12)
            _check_int(where + "layers", self.layers, 1, 12)

    def _drop(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, None)


@dataclass(frozen=True, kw_only=True)
class Genome:
    """One network of the design space, canonical.

    Fields: `branches` the deep branches (any subset of 8x, 16x, 32x, 64x; may be empty), kept from
    fine to coarse; `deep_width` channels in which they meet at 8x; `fusion` how two or more of
    them meet ("concat", "sum", "dual": M2's fusion of refined and unrefined branches, "cascade":
    each branch is brought up into the next finer one); `skip_width`, `skip_block`, `skip_blocks`
    the trunk at 8x; `merge_width` (0: one convolution), `merge_groups`, `merge_shuffle`,
    `expand_kernel` the merge of trunk and deep features and its way up, to 2x or to a stage at 4x;
    `fine_width` that stage's channels (None or 0: no stage, as published), `fine_block`,
    `fine_blocks`, and `fine_kernel` of its way up to 2x; `head` what meets it there ("none", "add"
    a convolution of the packed mosaic, "concat" the published head), with `head_kernel`,
    `head_width`, and `merge_channels` that the way up brings along.

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
            _check(
                "genome: branches must be Branch objects",
                isinstance(branch, Branch),
                branch,
                "make them with space.Branch",
            )
        scales = [branch.scale for branch in self.branches]
        _check(
            "genome: every scale may be used by one branch only",
            len(set(scales)) == len(scales),
            scales,
            "remove one of the two",
        )
        object.__setattr__(
            self, "branches", tuple(sorted(self.branches, key=lambda branch: branch.scale))
        )
        self._settle_deep()
        self._settle_trunk_and_merge()
        self._settle_fine()
        self._settle_head()

    def _drop(self, *names: str) -> None:
        for name in names:
            object.__setattr__(self, name, None)

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
            object.__setattr__(
                self, "fusion", "concat"
            )  # nothing refined: both halves would be the same

    def _settle_trunk_and_merge(self) -> None:
        _check_int("skip_width", self.skip_width, 1, 512)
        _check_int("skip_blocks", self.skip_blocks, 0, 8)
        if self.skip_blocks:
            _check_choice("skip_block", self.skip_block, ("residual", "rep"))
        else:
            self._drop("skip_block")
        _check_int("merge_width", self.merge_width, 0, 512)
        _check_kernel("expand_kernel", self.expand_kernel, (1, 3))
        _check_bool("merge_shuffle", self.merge_shuffle)
        if self.merge_width == 0:
            self._drop("merge_groups")
            object.__setattr__(self, "merge_shuffle", False)
            return
        _check_int("merge_groups", self.merge_groups, 1, 64)
        assert self.merge_groups is not None
        shared = f"{self.merge_inputs} and {self.merge_width}"
        divides = (
            self.merge_inputs % self.merge_groups == 0
            and self.merge_width % self.merge_groups == 0
        )
        _check(
            f"genome: merge_groups must divide {shared}",
            divides,
            self.merge_groups,
            "change this gene",
        )
        if (
            self.merge_groups == 1
        ):  # an ungrouped convolution sees every channel, in whatever order
            object.__setattr__(self, "merge_shuffle", False)
        _check(
            "genome: merge_shuffle needs an even number of channels",
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
            _check_choice("fine_block", self.fine_block, ("residual", "rep"))
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
    def size_multiple(self) -> int:
        """Height and width of the mosaic must be multiples of this many pixels."""
        return max([8, *(branch.scale for branch in self.branches)])

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that are equal exactly when two genomes are (SHA-256 of the JSON)."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """The acting genes as plain JSON values, with the schema number."""
        genes = _acting(dataclasses.asdict(self))
        genes["branches"] = [_acting(dataclasses.asdict(branch)) for branch in self.branches]
        return {"schema": SCHEMA, **genes}

    def to_json(self, *, indent: int | None = None) -> str:
        """The genome as JSON, keys sorted, so that equal genomes give equal texts."""
        return json.dumps(self.to_dict(), sort_keys=True, indent=indent)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The genome that `to_dict` described; InputError names the gene that is unknown or out of
        range.
        """
        if not isinstance(values, Mapping):
            raise InputError(
                f"a genome must be a JSON object, but got {brief(values)}; "
                "see python -m nas.describe MO --json"
            )
        genes = dict(values)
        schema = genes.pop("schema", None)
        _check(
            f"genome: schema must be {SCHEMA}",
            schema == SCHEMA and type(schema) is int,
            schema,
            "it was written by a newer or another program: upgrade this one",
        )
        branches = genes.pop("branches", [])
        _check(
            "genome: branches must be a list",
            isinstance(branches, (list, tuple)),
            branches,
            "make it one",
        )
        made = tuple(_make(Branch, branch, "branch gene") for branch in branches)
        return _make(cls, {**genes, "branches": made}, "gene")

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The genome in `text`; InputError where it is no JSON or no genome."""
        try:
            values = strict_json.loads(text)
        except ValueError as error:
            raise InputError(
                f"a genome must be JSON, but reading it gave: {error}; "
                "see python -m nas.describe MO --json"
            ) from error
        return cls.from_dict(values)


def _acting(genes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in genes.items() if value is not None}


def _make(kind: type[T], values: Any, what: str) -> T:
    if not isinstance(values, Mapping):
        raise InputError(
            f"genome: every branch must be a JSON object, but got {brief(values)}; change it"
        )
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in fields:
            raise InputError(
                f"genome: unknown {what} {brief(name)}; there are {', '.join(fields)}"
            )
    missing = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise InputError(
            f"genome: {what} {missing[0]!r} is missing; there must be {', '.join(fields)}"
        )
    return kind(**values)
