"""Where each part of a network lies in its drawing (nas/outputs/drawing.py): each scale in its
row, and the links between the parts.

Nothing here needs torch: the shares are `space.Cost.parts`, which the caller counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from space import Branch, Genome

Point = tuple[float, float]

# Lengths in pixels at the drawing's own size.
MARGIN = 14.0
ROW_HEADS = 58.0  # the scales, at the left
ROW = 116.0  # from one scale to the next
GAP = 30.0  # between parts, room for an arrow
BETWEEN = 4.0  # between the boxes of one part
CAPTION = 6.1  # width of a character of a caption
LINE = 13.0
LEGEND = 46.0
# Heights of boxes: the finer a scale, the higher.
HEIGHTS = {1: 70.0, 2: 64.0, 4: 58.0, 8: 52.0, 16: 42.0, 32: 33.0, 64: 26.0}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the network: `boxes` are the channels of each of its features, `share` is its
    share of the MACs (None: none).

    `x` is its left edge, `y` the middle of its boxes; `captions` stand under them.
    """

    name: str
    scale: int
    boxes: tuple[int, ...]
    captions: tuple[str, ...]
    share: float | None
    x: float
    y: float

    @property
    def boxes_width(self) -> float:
        return sum(box_width(box) for box in self.boxes) + BETWEEN * (len(self.boxes) - 1)

    @property
    def width(self) -> float:
        """Of the boxes or the captions, whichever is wider."""
        return max(self.boxes_width, *(CAPTION * len(line) for line in self.captions))

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def into(self) -> Point:
        """Where links arrive."""
        return self.middle - self.boxes_width / 2, self.y

    @property
    def out_of(self) -> Point:
        """Where links leave."""
        return self.middle + self.boxes_width / 2, self.y

    @property
    def right(self) -> float:
        return self.x + self.width


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A laid-out network: `rows` are (middle, title) of each scale's row, `links` are polylines
    from part to part.
    """

    parts: tuple[Part, ...]
    links: tuple[tuple[Point, ...], ...]
    rows: tuple[tuple[float, str], ...]
    width: float
    height: float
    top_share: float


def box_width(channels: int) -> float:
    """Pixels of a box with so many channels."""
    return 4.0 + 0.17 * min(channels, 512)


def lay_out(genome: Genome, macs: Mapping[str, int] | None = None) -> Drawing:
    """The parts of `genome`'s network with their places; `macs` are `space.Cost.parts`, without
    them there are no shares.

    Parts are named as there, besides "mosaic", "packed", "sum" and "picture".
    """
    return _Layout(genome, macs or {}).drawing()


class _Layout:
    def __init__(self, genome: Genome, macs: Mapping[str, int]) -> None:
        self.genome = genome
        total = sum(macs.values())
        self.shares = {name: value / total for name, value in macs.items()} if total else {}
        self.parts: list[Part] = []
        self.links: list[tuple[Point, ...]] = []
        finer = ["1x, 2x", *(["4x stage"] if genome.fine_width else []), "8x trunk"]
        scales = [*finer, *(f"{branch.scale}x" for branch in genome.branches)]
        self.rows = [
            (MARGIN + HEIGHTS[1] / 2 + ROW * index, title) for index, title in enumerate(scales)
        ]
        self.trunk_row = len(finer) - 1

    def drawing(self) -> Drawing:
        top, trunk_y = self.rows[0][0], self.row(0)
        mosaic = self.add("mosaic", 1, (1,), ("mosaic", "1 channel"), ROW_HEADS, top)
        packed = self.add("packed", 2, (4,), ("packed", "4 channels"), mosaic.right + GAP, top)
        self.link(mosaic, packed)
        start = packed.right + GAP
        deep = self.deep(packed, start)
        skip = self.trunk(packed, start, trunk_y, deep.right if deep else start)
        merge = self.merge(skip, deep, trunk_y)
        fine = self.fine(packed, merge, start) if self.genome.fine_width else merge
        self.finish(packed, fine, top)
        right = max(part.right for part in self.parts) + MARGIN
        bottom = self.rows[-1][0] + ROW / 2 + LEGEND
        return Drawing(
            parts=tuple(self.parts),
            links=tuple(self.links),
            rows=tuple(self.rows),
            width=max(right, 420.0),
            height=bottom,
            top_share=max(self.shares.values(), default=0.0),
        )

    def row(self, below: int) -> float:
        """The middle of the trunk's row, or of the so many-th `below` it."""
        return self.rows[self.trunk_row + below][0]

    def add(
        self,
        name: str,
        scale: int,
        boxes: Sequence[int],
        captions: Sequence[str],
        x: float,
        y: float,
    ) -> Part:
        share = self.shares.get(name)
        lines = [*captions, *([] if share is None else [percent(share)])]
        part = Part(
            name=name,
            scale=scale,
            boxes=tuple(boxes),
            captions=tuple(lines),
            share=share,
            x=x,
            y=y,
        )
        self.parts.append(part)
        return part

    def link(self, start: Part, end: Part, *, turn: float | None = None) -> None:
        """From part to part: straight in a row, else along their rows with one vertical piece at x
        = `turn`.
        """
        (x0, y0), (x1, y1) = start.out_of, end.into
        between = turn if turn is not None else end.x - GAP / 2
        self.links.append(
            ((x0, y0), (x1, y1))
            if y0 == y1
            else ((x0, y0), (between, y0), (between, y1), (x1, y1))
        )

    def trunk(self, packed: Part, start: float, y: float, end: float) -> Part:
        genome = self.genome
        entry = [genome.skip_width] if genome.skip_width != 64 else []
        boxes = [*entry, *[genome.skip_width] * genome.skip_blocks] or [genome.skip_width]
        what = (
            f"{genome.skip_blocks} x {genome.skip_block}"
            if genome.skip_blocks
            else ("3x3" if entry else "as it is")
        )
        captions = (what, f"{genome.skip_width} channels")
        part = self.add("skip", 8, boxes, captions, start, y)
        if part.right < end:  # in the middle of what the branches take
            self.parts.pop()
            part = self.add("skip", 8, boxes, captions, (start + end - part.width) / 2, y)
        self.link(packed, part, turn=start - GAP / 2)
        return part

    def deep(self, packed: Part, start: float) -> Part | None:
        """The branches and their meeting; the part that goes on to the merge, None without
        branches.
        """
        genome = self.genome
        if genome.fusion == "cascade":
            carried: Part | None = None
            for index in reversed(range(len(genome.branches))):
                goal = genome.branches[index - 1] if index else None
                scale, width = (goal.scale, goal.width) if goal else (8, genome.deep_width or 0)
                carried = self.branch(
                    genome.branches[index],
                    packed,
                    start,
                    self.row(1 + index),
                    scale,
                    width,
                    carried,
                )
            return carried
        ends = [
            self.branch(
                branch, packed, start, self.row(1 + index), 8, genome.deep_width or 0, None
            )
            for index, branch in enumerate(genome.branches)
        ]
        if len(ends) < 2:
            return ends[0] if ends else None
        x = max(end.right for end in ends) + GAP
        width = genome.deep_width or 0
        captions = {
            "sum": ("sum",),
            "concat": ("concat, 3x3", f"{width} channels"),
            "dual": ("dual", f"{width} channels"),
        }
        boxes = {"sum": (width,), "concat": (width,), "dual": (width, width, width)}
        kind = genome.fusion or "concat"
        name = "meet" if kind != "sum" else "sum"
        meet = self.add(name, 8, boxes[kind], captions[kind], x, self.row(1))
        for end in ends:
            self.link(end, meet)
        return meet

    def branch(
        self,
        branch: Branch,
        packed: Part,
        start: float,
        y: float,
        goal: int,
        up_width: int,
        carried: Part | None,
    ) -> Part:
        """One branch from left to right in its row; `carried` is the coarser one that is added to
        its stem.
        """
        s = branch.scale
        groups = f"groups {branch.stem_groups}" if branch.stem_groups > 1 else "no groups"
        last = self.add(
            f"stem{s}",
            s,
            (2 * branch.width, branch.width),
            ("stem", f"{branch.width} ch., {groups}"),
            start,
            y,
        )
        self.link(packed, last, turn=start - GAP / 2)
        if carried:
            added = self.add(
                "sum", s, (branch.width,), ("+",), max(last.right, carried.right) + GAP, y
            )
            self.link(last, added)
            self.link(carried, added)
            last = added
        if branch.blocks:
            dense = branch.block == "rdb"
            layers = (
                f"{branch.layers} layers, +{branch.growth}"
                if dense
                else f"{branch.width} channels"
            )
            if dense and branch.first_layers != branch.layers:
                layers = f"{branch.first_layers}, then {layers}"
            captions = (
                f"{branch.blocks} x {str(branch.block).upper() if dense else branch.block}",
                layers,
            )
            last = self.follow(last, f"chain{s}", s, [branch.width] * branch.blocks, captions)
        shuffle = f"up to {goal}x" if s > goal else f"at {goal}x"
        last = self.follow(last, f"up{s}", goal, (up_width,), (shuffle, f"{up_width} channels"))
        if branch.refine:
            block = str(branch.block).upper() if branch.block == "rdb" else str(branch.block)
            last = self.follow(last, f"refine{s}", goal, (up_width,), ("refine", f"1 x {block}"))
        return last

    def follow(
        self, last: Part, name: str, scale: int, boxes: Sequence[int], captions: Sequence[str]
    ) -> Part:
        part = self.add(name, scale, boxes, captions, last.right + GAP, last.y)
        self.link(last, part)
        return part

    def merge(self, skip: Part, deep: Part | None, y: float) -> Part:
        genome = self.genome
        outputs = 12 if genome.merge_channels is None else genome.merge_channels
        inner = [genome.merge_width] if genome.merge_width else []
        kernel = f"{genome.expand_kernel}x{genome.expand_kernel}"
        outputs, goal = (4 * genome.fine_width, 4) if genome.fine_width else (16 * outputs, 2)
        captions = ("merge", f"{'3x3, ' if inner else ''}{kernel}, up to {goal}x")
        x = max(skip.right, deep.right if deep else 0.0) + GAP
        part = self.add("merge", 8, [*inner, outputs], captions, x, y)
        self.link(skip, part)
        if deep:
            self.link(deep, part)
        return part

    def fine(self, packed: Part, merge: Part, start: float) -> Part:
        genome = self.genome
        width = genome.fine_width or 0
        outputs = 12 if genome.merge_channels is None else genome.merge_channels
        blocks = (
            f"{genome.fine_blocks} x {genome.fine_block}" if genome.fine_blocks else "no blocks"
        )
        captions = (
            blocks,
            f"{width} channels, {genome.fine_kernel}x{genome.fine_kernel}, up to 2x",
        )
        boxes = [width, *[width] * (genome.fine_blocks or 0), 4 * outputs]
        part = self.add("fine", 4, boxes, captions, merge.right + GAP, self.row(-1))
        self.link(packed, part, turn=start - GAP / 2)
        self.link(merge, part)
        return part

    def finish(self, packed: Part, merge: Part, y: float) -> None:
        genome = self.genome
        last = merge
        if genome.head != "none":
            k = f"{genome.head_kernel}x{genome.head_kernel}"
            concat = genome.head == "concat"
            boxes = (genome.head_width or 0, 12) if concat else (12,)
            captions = ("head", f"{k}, concat, {k}" if concat else f"{k}, added")
            last = self.add("head", 2, boxes, captions, merge.right + GAP, y)
            self.link(packed, last)
            self.link(merge, last)
        picture = self.add("picture", 1, (3,), ("picture", "3 channels"), last.right + GAP, y)
        self.link(last, picture)


def percent(share: float) -> str:
    """A share in words of its size: "12 %", "0.4 %"."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
