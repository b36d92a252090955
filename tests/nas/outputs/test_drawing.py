"""The drawing shows every part of every network, without overlaps, in ordered colours."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.outputs.drawing import (
    HEIGHTS,
    LINE,
    Drawing,
    PlacedPart,
    box_width,
    colour,
    draw_network,
    draw_svg,
    lay_out,
    percent,
)
from space import BASELINES, DesignSpace, Genome, count_cost

SVG = "{http://www.w3.org/2000/svg}"


def sampled(seed: int) -> Genome:
    return DesignSpace().decode(DesignSpace().sample(random.Random(seed)))


def frame(part: PlacedPart) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of boxes and captions."""
    half = HEIGHTS[part.scale] / 2
    return part.x, part.y - half, part.right, part.y + half + LINE * len(part.captions) + 3


def check(drawing: Drawing) -> None:
    frames = [frame(part) for part in drawing.parts]
    for index, (left, top, right, bottom) in enumerate(frames):
        assert left >= 0 and top >= 0 and right <= drawing.width and bottom <= drawing.height
        for other_left, other_top, other_right, other_bottom in frames[:index]:
            apart = (
                right < other_left
                or other_right < left
                or bottom < other_top
                or other_bottom < top
            )
            assert apart, (drawing.parts[index], drawing.parts)
    for points in drawing.links:
        assert points[0][0] < points[-1][0], "from left to right"
        for x, y in points:
            assert 0 <= x <= drawing.width and 0 <= y <= drawing.height


@given(st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_no_network_of_the_space_is_drawn_over_itself(seed: int) -> None:
    drawing = lay_out(sampled(seed))
    check(drawing)
    ElementTree.fromstring(draw_svg(drawing))


@pytest.mark.parametrize(
    "genome",
    [*BASELINES.values(), *(sampled(seed) for seed in range(8))],
    ids=lambda g: g.digest[:8],
)
def test_every_part_has_its_share(genome: Genome) -> None:
    macs = count_cost(genome, 128, 128).parts
    drawing = lay_out(genome, macs)
    check(drawing)
    shares = {part.name: part.share for part in drawing.parts if part.share is not None}
    assert {name for name, value in macs.items() if value} <= set(shares)
    assert sum(shares.values()) == pytest.approx(1.0)
    for name, share in shares.items():
        assert share == pytest.approx(macs[name] / sum(macs.values()))
    # Whatever is drawn is reached from the mosaic and leads to the picture.
    ends = [points[-1] for points in drawing.links]
    starts = [points[0] for points in drawing.links]
    for part in drawing.parts:
        assert part.name == "mosaic" or part.inlet in ends, part
        assert part.name == "picture" or part.outlet in starts, part


def test_mo_as_it_is_known() -> None:
    drawing = lay_out(BASELINES["MO"], count_cost(BASELINES["MO"], 512, 512).parts)
    parts = {part.name: part for part in drawing.parts}
    names = "mosaic packed trunk stem32 chain32 up32 merge head picture"
    assert set(parts) == set(names.split())
    assert parts["chain32"].channels == (64, 64, 64)
    assert parts["chain32"].captions == ("3 x RDB", "4, then 5 layers, +32", "11 %")
    assert parts["head"].captions[-1] == "43 %" and parts["merge"].channels == (32, 192)
    assert [title for _, title in drawing.rows] == ["1x, 2x", "8x trunk", "32x"]


def test_a_cascade_is_added_from_coarse_to_fine() -> None:
    genome = next(
        g for g in map(sampled, range(1000)) if g.fusion == "cascade" and len(g.branches) == 3
    )
    drawing = lay_out(genome)
    sums = sorted((part.x, -part.y) for part in drawing.parts if part.name == "sum")
    assert len(sums) == 2 and sums[0][1] < sums[1][1], "the coarser is added first, further down"


def test_the_svg_says_what_the_layout_holds() -> None:
    macs = count_cost(BASELINES["M2"], 64, 64).parts
    root = ElementTree.fromstring(draw_network(BASELINES["M2"], macs, title="a <b> & c"))
    assert root.findtext(f"{SVG}title") == "a <b> & c"
    groups = {group.get("id"): group for group in root.iter(f"{SVG}g")}
    boxes = groups["chain8"].findall(f"{SVG}rect")
    widths = [float(str(box.get("width"))) for box in boxes]
    assert widths == [pytest.approx(box_width(64), abs=0.06)] * 2
    assert "22 %" in [text.text for text in groups["chain8"].iter(f"{SVG}text")]


def test_colours_are_ordered_by_their_lightness_alone() -> None:
    def lightness(text: str) -> float:
        red, green, blue = (int(text[k : k + 2], 16) for k in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    values = [lightness(colour(k / 20, 1.0)) for k in range(21)]
    assert values == sorted(values, reverse=True) and values[0] - values[-1] > 150
    assert colour(None, 1.0) not in [colour(k / 20, 1.0) for k in range(21)]


def test_widths_grow_with_channels_and_shares_are_readable() -> None:
    assert box_width(1) < box_width(64) < box_width(192)
    shares = [percent(share) for share in (0.004, 0.0994, 0.1, 0.43)]
    assert shares == ["0.4 %", "9.9 %", "10 %", "43 %"]


@pytest.mark.parametrize("module", ["nas.outputs.drawing", "nas.describe"])
def test_drawing_needs_no_torch(module: str) -> None:
    program = (
        f"import sys, {module}, space; from nas.outputs.drawing import draw_network; "
        "mo = space.BASELINES['MO']; draw_network(mo, space.count_cost(mo, 64, 64).parts); "
        "print('torch' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, capture_output=True, text=True, cwd=root)
    assert done.stdout.strip() == "False", done.stderr
