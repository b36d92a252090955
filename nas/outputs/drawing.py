"""A network as a drawing (SVG): each scale in its row, boxes as wide as they have channels,
coloured by share of the MACs.

What is drawn is computed first (`lay_out`, nas/outputs/layout.py: parts with their places, and the
links between them), then drawn (`draw_svg`). Colours go from light to dark in one hue, so that any
eye can order them, and every share stands there in figures too.
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from nas.outputs.layout import (
    BETWEEN,
    HEIGHTS,
    LEGEND,
    LINE,
    MARGIN,
    Drawing,
    Part,
    Point,
    box_width,
    percent,
)

# No share (no multiplications); then from none of the work to all of it.
PLAIN, LIGHT, DARK = (236, 239, 243), (222, 235, 247), (8, 48, 107)
INK, GRAY = "#1f2933", "#7b8794"


def draw_svg(drawing: Drawing, *, title: str = "network") -> str:
    """`drawing` as one <svg> element, text and all, as wide as it is given room for."""
    # The first row needs no title: what is in it stands there by name.
    body = [_row(middle, name) for middle, name in drawing.rows[1:]]
    body += [_link(points) for points in drawing.links]
    body += [_part(part, drawing.top_share) for part in drawing.parts]
    body += _legend(drawing)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width:.0f} '
        f'{drawing.height:.0f}" '
        f'width="{drawing.width:.0f}" height="{drawing.height:.0f}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="11">\n<title>{escape(title)}</title>\n'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{GRAY}"/></marker></defs>\n'
        f'<rect width="{drawing.width:.0f}" height="{drawing.height:.0f}" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def colour(share: float | None, top_share: float) -> str:
    """Of a part with `share` of the MACs, where `top_share` is the largest; grey where it has
    none.
    """
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
    return (
        f'<path d="{path}" fill="none" stroke="{GRAY}" stroke-width="1.2" marker-end="url(#tip)"/>'
    )


def _part(part: Part, top_share: float) -> str:
    height, x = HEIGHTS[part.scale], part.into[0]
    shapes = []
    for channels in part.boxes:
        width = box_width(channels)
        shapes.append(
            f'<rect x="{x:.1f}" y="{part.y - height / 2:.1f}" width="{width:.1f}" '
            f'height="{height:.1f}" rx="1.5" '
            f'fill="{colour(part.share, top_share)}" stroke="{INK}" stroke-width="0.8"/>'
        )
        x += width + BETWEEN
    for index, line in enumerate(part.captions):
        weight = ' font-weight="600"' if index == 0 else ""
        shapes.append(
            f'<text x="{part.middle:.1f}" '
            f'y="{part.y + height / 2 + LINE * (index + 1):.1f}" text-anchor="middle" '
            f'fill="{INK}"{weight}>{escape(line)}</text>'
        )
    return f'<g id="{part.name}">' + "".join(shapes) + "</g>"


def _legend(drawing: Drawing) -> list[str]:
    y = drawing.height - LEGEND / 2
    words = "width: channels; height: scale"
    if not drawing.top_share:
        return [f'<text x="{MARGIN:.0f}" y="{y + 4:.1f}" fill="{INK}">{words}</text>']
    steps, step = 20, 5.0
    bar = [
        f'<rect x="{MARGIN + step * k:.1f}" y="{y - 6:.1f}" width="{step + 0.3:.1f}" height="11" '
        f'fill="{colour(k / (steps - 1), 1.0)}"/>'
        for k in range(steps)
    ]
    text = f"share of the MACs, 0 to {percent(drawing.top_share)}; grey: none; {words}"
    return [
        *bar,
        f'<text x="{MARGIN + steps * step + 8:.1f}" y="{y + 4:.1f}" fill="{INK}">{text}</text>',
    ]
