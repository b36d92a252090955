"""The page's sections as HTML. Whatever comes from a study is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from dashboards.page.gallery import Gallery
from dashboards.page.words import NONE, counted, decibels, duration, number
from dashboards.study.records import Record, StudyRecords

BRUSH = """<div class="bar"><strong id="brushed"></strong><button type="button" id="clear" disabled>clear</button>
<label>axis <select id="axis"></select></label><label>from <select id="low"></select></label>
<label>to <select id="high"></select></label></div>"""
SLIDER = """<div class="beside"><div>
<div class="bar"><label>left <select id="left">{left}</select></label><button type="button" id="swap">swap</button>
<label>right <select id="right">{right}</select></label><label>pair <select id="pair">{pairs}</select></label></div>
<div class="stage"><img class="right" alt=""><img class="left" alt=""><span class="knob" aria-hidden="true">↔</span>
<span class="of a"></span><span class="of b"></span>
<input type="range" min="0" max="100" value="50" step="1" aria-label="how much of the left picture is shown"></div>
</div><div id="told"></div></div>"""
CARD = """<aside id="card" aria-label="one network"><h3>One network</h3>
<p class="quiet">Point at a dot to see its network here: figures, drawing and pictures. A click keeps it, Escape lets it go.
The front's networks are also the buttons below the plot.</p></aside>"""


def sentence(study: StudyRecords) -> str:
    """What was searched, in one sentence."""
    if not study.records:
        return "This study has no trials yet."
    if not study.ours:
        return (
            f"A study of another tool with {counted(len(study.records), 'trial')}: it holds "
            f"no networks of nas.search."
        )
    steps = (study.config.get("train") or {}).get("steps")
    trained = f", each trained for {steps:,} steps" if steps else ""
    timed = f" and timed on a {study.timed}" if study.latency else ""
    return (
        f"A search among U-nets that restore extremely dark raw photos: "
        f"{counted(len(study.points), 'network')}{trained}{timed}. "
        "PSNR should be high and latency low; on the front are the networks that none "
        "beats in both."
    )


def key_figures(study: StudyRecords) -> list[tuple[str, str]]:
    """(what, value) of the study as a whole."""
    points = study.points
    best = max(points, key=lambda one: one.psnr_db or 0.0, default=None)
    fast = [one for one in points if one.ratio_to_mo is not None and one.ratio_to_mo <= 0.5]
    half = max(fast, key=lambda one: one.psnr_db or 0.0, default=None)
    mo = next((one for one in points if one.baseline == "MO"), None)
    spent = sum(record.train_seconds or 0.0 for record in study.records)
    return [
        ("networks", f"{len(points):,}"),
        ("on the front", f"{len(study.front):,}"),
        ("MO's PSNR", decibels(mo.psnr_db) if mo else NONE),
        (f"best PSNR{_by(best)}", decibels(best.psnr_db) if best else NONE),
        (f"best within half of MO's latency{_by(half)}", decibels(half.psnr_db) if half else NONE),
        ("training spent", duration(spent) if spent else NONE),
    ]


def _by(record: Record | None) -> str:
    return "" if record is None else f", {record.name}"


def plot(
    name: str, title: str, missing: str | None, caption: str, height: int | None = None
) -> str:
    """One plot's place with its caption (`height` in pixels, where it isn't the usual); where it
    is missing why.
    """
    if missing:
        return (
            f'<div class="missing" id="plot-{name}"><h3>{escape(title)}</h3><p '
            f'class="note">{escape(missing)}</p></div>'
        )
    kind = {"hypervolume": " short", "curves": " short"}.get(name, "")
    style = f' style="height: {height}px"' if height else ""
    label = f"{escape(title)}: {escape(caption)}"
    chart = (
        f'<div class="chart{kind}"{style} data-plot="{name}" role="img" '
        f'aria-label="{label}"></div>'
    )
    if (
        name == "parallel"
    ):  # its axes need room: on a phone it is scrolled sideways, and told apart for the keyboard
        chart = (
            f'<div class="wide" tabindex="0" role="region" aria-label="parallel '
            f'coordinates, scrolls sideways">{chart}</div>'
        )
    return (
        f"<figure "
        f'id="plot-{name}"><h3>{escape(title)}</h3>{chart}<figcaption>{escape(caption)}</figcaption></figure>'
    )


def body(
    study: StudyRecords,
    members: Sequence[Record],
    plots: Mapping[str, str],
    gallery: Gallery,
    table: str,
    facts: Sequence[tuple[str, str]],
    missing: Sequence[str],
) -> str:
    """All sections, top to bottom."""
    networks = bool(study.points)
    brushed = (
        BRUSH + plots["parallel"]
        if "data-plot" in plots.get("parallel", "")
        else plots.get("parallel", "")
    )
    made = [
        _columns(plots["front"] + _chips(study.front) + brushed)
        if networks
        else f"<section>{plots['front']}</section>",
        _section("Against MO", plots.get("ratio", "")) if networks else "",
        _section("Before and after", _slider(members, gallery)) if networks else "",
        _section(
            "The front, and the published networks",
            f'<div class="scroll" tabindex="0" role="region" aria-label="table of '
            f'the front, scrolls sideways">{table}</div>',
        )
        if members
        else "",
        _section("The search", _halves(plots.get("hypervolume", ""), plots.get("curves", "")))
        if networks
        else "",
        _section("What the genes do", plots.get("importance", "") + plots.get("effects", ""))
        if networks
        else "",
        _section("How it was measured", _facts(facts)) if facts else "",
        _section(
            "What is missing", "".join(f'<p class="note">{escape(one)}</p>' for one in missing)
        )
        if missing
        else "",
    ]
    return "\n".join(one for one in made if one)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _columns(content: str) -> str:
    return f'<section class="columns"><div>{content}</div>{CARD}</section>'


def _halves(*content: str) -> str:
    there = [one for one in content if one]
    return f'<div class="halves">{"".join(there)}</div>' if there else ""


def _chips(front: Sequence[Record]) -> str:
    items = "".join(
        f'<li><button type="button" data-pin="{one.number}" aria-pressed="false" '
        f'aria-label="{escape(one.name)}, trial {one.number}, '
        f'{decibels(one.psnr_db)} in {number(one.latency_ms, 1)} ms">{escape(one.name)} '
        f"{number(one.psnr_db, 2)}</button></li>"
        for one in front
    )
    return (
        f'<ul class="chips" aria-label="the networks of the front, fastest first">{items}</ul>'
        if items
        else ""
    )


def _slider(members: Sequence[Record], gallery: Gallery) -> str:
    shown = [one for one in members if one.number in gallery.pairs]
    if not shown:
        return (
            '<p class="note">No network of the front left pictures that this report could '
            "read.</p>"
        )
    best = max(shown, key=lambda one: one.psnr_db or 0.0)
    fixed = (
        '<option value="amplified">amplified only</option><option value="truth">ground '
        "truth</option>"
    )
    options = "".join(
        f'<option value="{one.number}">{escape(one.name)}, trial {one.number}: '
        f"{decibels(one.psnr_db)}, "
        f"{number(one.latency_ms, 1)} ms</option>"
        for one in shown
    )
    right = options.replace(
        f'<option value="{best.number}">', f'<option value="{best.number}" selected>'
    )
    pairs = max(len(gallery.pairs[one.number]) for one in shown)
    numbered = "".join(f'<option value="{index}">{index + 1}</option>' for index in range(pairs))
    return SLIDER.format(left=fixed + options, right=right + fixed, pairs=numbered)


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(what)}</th><td>{escape(said)}</td></tr>'
        for what, said in facts
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'
