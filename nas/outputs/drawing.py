"""A network as a drawing (SVG): a row for each scale, box widths by channels, colours by MACs.

The parts (space.parts) are first given places and links (`lay_out`), then rendered (`draw_svg`).
Colours go from light to dark in one hue, so that any eye can order them, and every share stands
there in figures too. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from space import Branch, Genome, network_parts

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
# No share (no multiplications); then from none of the work to all of it.
PLAIN, LIGHT, DARK = (236, 239, 243), (222, 235, 247), (8, 48, 107)
INK, GRAY = "#1f2933", "#7b8794"


@dataclass(frozen=True, kw_only=True)
class PlacedPart:
    """A part in the drawing: a box for each of `channels`, `captions` under them."""

    name: str
    scale: int
    channels: tuple[int, ...]
    captions: tuple[str, ...]
    share: float | None  # of the MACs; None: it has none
    x: float  # left edge
    y: float  # middle of its boxes

    @property
    def boxes_width(self) -> float:
        return sum(map(box_width, self.channels)) + BETWEEN * (len(self.channels) - 1)

    @property
    def width(self) -> float:
        """Of the boxes or the captions, whichever is wider."""
        return max(self.boxes_width, *(CAPTION * len(line) for line in self.captions))

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def inlet(self) -> Point:
        """Where links arrive."""
        return self.middle - self.boxes_width / 2, self.y

    @property
    def outlet(self) -> Point:
        """Where links leave."""
        return self.middle + self.boxes_width / 2, self.y


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A laid-out network: `rows` are (middle, title) of each scale, `links` polylines."""

    parts: tuple[PlacedPart, ...]
    links: tuple[tuple[Point, ...], ...]
    rows: tuple[tuple[float, str], ...]
    width: float
    height: float
    top_share: float


def draw_network(
    genome: Genome, macs: Mapping[str, int] | None = None, *, title: str = "network"
) -> str:
    """`genome`'s network as one <svg> element; `macs` as for `lay_out`."""
    return draw_svg(lay_out(genome, macs), title=title)


def lay_out(genome: Genome, macs: Mapping[str, int] | None = None) -> Drawing:
    """The parts of `genome`'s network with their places.

    `macs` are `space.Cost.parts`; without them there are no shares. In a cascade, the additions to
    the stems are parts too ("sum").
    """
    return _Layout(genome, macs or {}).drawing()


def box_width(channels: int) -> float:
    """Pixels of a box with so many channels."""
    return 4.0 + 0.17 * min(channels, 512)


def percent(share: float) -> str:
    """A share as text: "12 %", "0.4 %"."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


class _Layout:
    def __init__(self, genome: Genome, macs: Mapping[str, int]) -> None:
        self.genome = genome
        self.described = {part.name: part for part in network_parts(genome)}
        total = sum(macs.values())
        self.shares = {name: value / total for name, value in macs.items()} if total else {}
        self.parts: list[PlacedPart] = []
        self.links: list[tuple[Point, ...]] = []
        finer = ["1x, 2x", *(["4x stage"] if genome.fine_width else []), "8x trunk"]
        titles = [*finer, *(f"{branch.scale}x" for branch in genome.branches)]
        self.rows = [(MARGIN + HEIGHTS[1] / 2 + ROW * k, title) for k, title in enumerate(titles)]
        self.trunk_row = len(finer) - 1

    def drawing(self) -> Drawing:
        top, trunk_y = self.rows[0][0], self.row(0)
        mosaic = self.add("mosaic", ROW_HEADS, top)
        packed = self.follow(mosaic, "packed")
        start = packed.right + GAP
        deep = self.deep(packed, start)
        trunk = self.trunk(packed, start, deep.right if deep else start)
        x = max(trunk.right, deep.right if deep else 0.0) + GAP
        last = self.join("merge", x, trunk_y, trunk, deep)
        if "fine" in self.described:
            fine = self.add("fine", last.right + GAP, self.row(-1))
            self.link(packed, fine, turn=start - GAP / 2)
            self.link(last, fine)
            last = fine
        if self.described["head"].channels:
            last = self.join("head", last.right + GAP, top, packed, last)
        self.join("picture", last.right + GAP, top, last)
        return Drawing(
            parts=tuple(self.parts),
            links=tuple(self.links),
            rows=tuple(self.rows),
            width=max(max(part.right for part in self.parts) + MARGIN, 420.0),
            height=self.rows[-1][0] + ROW / 2 + LEGEND,
            top_share=max(self.shares.values(), default=0.0),
        )

    def row(self, below: int) -> float:
        """The middle of the trunk's row, or of the so many-th `below` it."""
        return self.rows[self.trunk_row + below][0]

    def place(self, name: str, x: float, y: float) -> PlacedPart:
        part, share = self.described[name], self.shares.get(name)
        captions = (*part.captions, *([] if share is None else [percent(share)]))
        scale, channels = part.scale, part.channels
        return PlacedPart(
            name=name, scale=scale, channels=channels, captions=captions, share=share, x=x, y=y
        )

    def add(self, name: str, x: float, y: float) -> PlacedPart:
        self.parts.append(self.place(name, x, y))
        return self.parts[-1]

    def join(self, name: str, x: float, y: float, *before: PlacedPart | None) -> PlacedPart:
        """Adds a part with links from those `before` it."""
        part = self.add(name, x, y)
        for one in before:
            if one:
                self.link(one, part)
        return part

    def follow(self, last: PlacedPart, name: str) -> PlacedPart:
        return self.join(name, last.right + GAP, last.y, last)

    def link(self, start: PlacedPart, end: PlacedPart, *, turn: float | None = None) -> None:
        """Straight in a row, else along both rows with a vertical piece at x = `turn`."""
        (x0, y0), (x1, y1) = start.outlet, end.inlet
        x = turn if turn is not None else end.x - GAP / 2
        corners = () if y0 == y1 else ((x, y0), (x, y1))
        self.links.append(((x0, y0), *corners, (x1, y1)))

    def trunk(self, packed: PlacedPart, start: float, end: float) -> PlacedPart:
        """In the middle of what the branches take, from `start` to `end`."""
        width, y = self.place("trunk", start, 0).width, self.row(0)
        part = self.add("trunk", max(start, (start + end - width) / 2), y)
        self.link(packed, part, turn=start - GAP / 2)
        return part

    def deep(self, packed: PlacedPart, start: float) -> PlacedPart | None:
        """The branches and their fusion; the part that leads to the merge, if there are any."""
        branches = list(enumerate(self.genome.branches, start=1))
        if self.genome.fusion == "cascade":
            carried: PlacedPart | None = None
            for row, branch in reversed(branches):
                carried = self.branch(branch, packed, start, self.row(row), carried)
            return carried
        ends = [self.branch(branch, packed, start, self.row(row)) for row, branch in branches]
        if len(ends) < 2:
            return ends[0] if ends else None
        return self.join("fuse", max(end.right for end in ends) + GAP, self.row(1), *ends)

    def branch(
        self,
        branch: Branch,
        packed: PlacedPart,
        start: float,
        y: float,
        carried: PlacedPart | None = None,
    ) -> PlacedPart:
        """A branch from left to right in its row; `carried`, the coarser one, joins its stem."""
        s = branch.scale
        last = self.add(f"stem{s}", start, y)
        self.link(packed, last, turn=start - GAP / 2)
        if carried:
            x = max(last.right, carried.right) + GAP
            channels = (branch.width,)
            added = PlacedPart(
                name="sum", scale=s, channels=channels, captions=("+",), share=None, x=x, y=y
            )
            self.parts.append(added)
            self.link(last, added)
            self.link(carried, added)
            last = added
        for name in (f"chain{s}", f"up{s}", f"refine{s}"):
            if name in self.described:
                last = self.follow(last, name)
        return last


def draw_svg(drawing: Drawing, *, title: str = "network") -> str:
    """`drawing` as one <svg> element, text and all, as wide as it is given room for."""
    # The first row needs no title: what is in it stands there by name.
    body = [_row(middle, name) for middle, name in drawing.rows[1:]]
    body += [_link(points) for points in drawing.links]
    body += [_part(part, drawing.top_share) for part in drawing.parts]
    body += _legend(drawing)
    defs = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{GRAY}"/></marker></defs>\n'
    )
    return svg(drawing.width, drawing.height, body, title=title, defs=defs)


def svg(width: float, height: float, body: Sequence[str], *, title: str, defs: str = "") -> str:
    """A whole <svg> element on white, of the elements `body`."""
    size = f'width="{width:.0f}" height="{height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" {size} '
        'role="img" font-family="system-ui, sans-serif" font-size="11">\n'
        f'<title>{escape(title)}</title>\n{defs}<rect {size} fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def colour(share: float | None, top_share: float) -> str:
    """Of a part with `share` of the MACs, `top_share` being the largest; grey without one."""
    if share is None:
        return _rgb(PLAIN)
    along = share / top_share if top_share else 0.0
    return _rgb([low + (high - low) * along for low, high in zip(LIGHT, DARK, strict=True)])


def _rgb(values: Sequence[float]) -> str:
    return "#" + "".join(f"{round(value):02x}" for value in values)


def _row(middle: float, title: str) -> str:
    x, y = MARGIN - 4, middle + 4
    return f'<text x="{x:.0f}" y="{y:.1f}" font-weight="600" fill="{GRAY}">{escape(title)}</text>'


def _link(points: Sequence[Point]) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    stroke = f'stroke="{GRAY}" stroke-width="1.2"'
    return f'<path d="{path}" fill="none" {stroke} marker-end="url(#tip)"/>'


def _part(part: PlacedPart, top_share: float) -> str:
    height, x = HEIGHTS[part.scale], part.inlet[0]
    paint = f'fill="{colour(part.share, top_share)}" stroke="{INK}" stroke-width="0.8"'
    shapes = []
    for channels in part.channels:
        width = box_width(channels)
        shapes.append(
            f'<rect x="{x:.1f}" y="{part.y - height / 2:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="1.5" {paint}/>'
        )
        x += width + BETWEEN
    for index, line in enumerate(part.captions):
        y, weight = part.y + height / 2 + LINE * (index + 1), ' font-weight="600"' * (index == 0)
        shapes.append(
            f'<text x="{part.middle:.1f}" y="{y:.1f}" text-anchor="middle" '
            f'fill="{INK}"{weight}>{escape(line)}</text>'
        )
    return f'<g id="{part.name}">' + "".join(shapes) + "</g>"


def _legend(drawing: Drawing) -> list[str]:
    y, words = drawing.height - LEGEND / 2, "width: channels; height: scale"
    if not drawing.top_share:
        return [f'<text x="{MARGIN:.0f}" y="{y + 4:.1f}" fill="{INK}">{words}</text>']
    steps, step = 20, 5.0
    bar = [
        f'<rect x="{MARGIN + step * k:.1f}" y="{y - 6:.1f}" width="{step + 0.3:.1f}" height="11" '
        f'fill="{colour(k / (steps - 1), 1.0)}"/>'
        for k in range(steps)
    ]
    text = f"share of the MACs, 0 to {percent(drawing.top_share)}; grey: none; {words}"
    x = MARGIN + steps * step + 8
    return [*bar, f'<text x="{x:.1f}" y="{y + 4:.1f}" fill="{INK}">{text}</text>']
