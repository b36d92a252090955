"""The page's sections as HTML. Whatever comes from a study is escaped here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from dashboards.page.gallery import Gallery
from dashboards.page.words import NONE, counted, decibels, duration, number
from dashboards.plots import Data, Plot
from dashboards.study.records import Record, StudyRecords

# It can be scrolled sideways where it has no room, by the keyboard too.
SCROLLED = '<div class="{}" tabindex="0" role="region" aria-label="{}, scrolls sideways">{}</div>'


def page_file(name: str) -> str:
    """The text of a file beside this one."""
    return files("dashboards.page").joinpath(name).read_text(encoding="utf-8")


def sentence(study: StudyRecords) -> str:
    """What was searched, in words."""
    if not study.records:
        return "This study has no trials yet."
    if not study.ours:
        return (
            f"A study of another tool with {counted(len(study.records), 'trial')}: it holds no "
            "networks of nas.search."
        )
    steps = (study.config.get("train") or {}).get("steps")
    trained = f", each trained for {steps:,} steps" if steps else ""
    timed = f" and timed on a {study.timed}" if study.latency else ""
    return (
        "A search among U-nets that restore extremely dark raw photos: "
        f"{counted(len(study.points), 'network')}{trained}{timed}. PSNR should be high and "
        "latency low; on the front are the networks that none beats in both."
    )


def key_figures(study: StudyRecords) -> str:
    """The main figures of the study."""
    fast = [one for one in study.points if one.ratio_to_mo is not None and one.ratio_to_mo <= 0.5]
    (best, by), (best_fast, by_fast) = map(_best, (study.points, fast))
    mo = next((one for one in study.points if one.baseline == "MO"), None)
    seconds = sum(record.train_seconds or 0.0 for record in study.records)
    figures = {
        "networks": f"{len(study.points):,}",
        "on the front": f"{len(study.front):,}",
        "MO's PSNR": decibels(mo.psnr_db) if mo else NONE,
        f"best PSNR{by}": best,
        f"best within half of MO's latency{by_fast}": best_fast,
        "training spent": duration(seconds) if seconds else NONE,
    }
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in figures.items()
    )


def _best(records: Sequence[Record]) -> tuple[str, str]:
    """The highest PSNR, and whose it is."""
    best = max(records, key=lambda one: one.psnr_db or 0.0, default=None)
    return (NONE, "") if best is None else (decibels(best.psnr_db), f", {best.name}")


def plot(of: Plot[Any], data: Data, height_px: int | None) -> str:
    """One plot's place with its caption (`height_px`: not the usual), or why it is missing."""
    title, caption = escape(of.title), escape(data.caption)
    if data.missing:
        reason = f'<p class="note">{escape(data.missing)}</p>'
        return f'<div class="missing" id="plot-{of.name}"><h3>{title}</h3>{reason}</div>'
    short = " short" if of.name in ("hypervolume", "curves") else ""
    style = f' style="height: {height_px}px"' if height_px else ""
    chart = (
        f'<div class="chart{short}"{style} data-plot="{of.name}" role="img" '
        f'aria-label="{title}: {caption}"></div>'
    )
    if of.name == "parallel":
        chart = SCROLLED.format("wide", "parallel coordinates", chart)
    return (
        f'<figure id="plot-{of.name}"><h3>{title}</h3>{chart}<figcaption>{caption}</figcaption>'
        "</figure>"
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
    front_title = "The front, and the published networks"
    scrolled = SCROLLED.format("scroll", "table of the front", table)
    front = _section(front_title, scrolled) if members else ""
    sections = [f"<section>{plots['front']}</section>", front]
    if study.points:
        brush = page_file("brush.html") if "data-plot" in plots["parallel"] else ""
        overview = plots["front"] + _chips(study.front) + brush + plots["parallel"]
        growth = f'<div class="halves">{plots["hypervolume"]}{plots["curves"]}</div>'
        card = page_file("card.html")
        sections = [
            f'<section class="columns"><div>{overview}</div>{card}</section>',
            _section("Against MO", plots["ratio"]),
            _section("Before and after", _slider(members, gallery)),
            front,
            _section("The search", growth),
            _section("What the genes do", plots["importance"] + plots["effects"]),
        ]
    if facts:
        sections.append(_section("How it was measured", _facts(facts)))
    if missing:
        notes = "".join(f'<p class="note">{escape(one)}</p>' for one in missing)
        sections.append(_section("What is missing", notes))
    return "\n".join(sections)


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _chips(front: Sequence[Record]) -> str:
    """A button for each network of the front; nothing without any."""
    if not front:
        return ""
    buttons = "".join(
        f'<li><button type="button" data-pin="{one.number}" aria-pressed="false" '
        f'aria-label="{escape(one.name)}, trial {one.number}, {decibels(one.psnr_db)} in '
        f'{number(one.latency_ms, 1)} ms">{escape(one.name)} {number(one.psnr_db, 2)}</button>'
        "</li>"
        for one in front
    )
    label = "the networks of the front, fastest first"
    return f'<ul class="chips" aria-label="{label}">{buttons}</ul>'


def _slider(members: Sequence[Record], gallery: Gallery) -> str:
    records = [one for one in members if one.number in gallery.pairs]
    if not records:
        return '<p class="note">No network of the front has pictures that could be read.</p>'
    best = max(records, key=lambda one: one.psnr_db or 0.0).number
    fixed = _option("amplified", "amplified only") + _option("truth", "ground truth")
    options = {}
    for one in records:
        name, latency = f"{one.name}, trial {one.number}", number(one.latency_ms, 1)
        text = f"{name}: {decibels(one.psnr_db)}, {latency} ms"
        options[one.number] = _option(one.number, text)
    selected = options[best].replace("<option", "<option selected")
    pairs = range(max(len(gallery.pairs[one.number]) for one in records))
    return Template(page_file("slider.html")).substitute(
        left=fixed + "".join(options.values()),
        right="".join({**options, best: selected}.values()) + fixed,
        pairs="".join(_option(index, str(index + 1)) for index in pairs),
    )


def _option(value: int | str, text: str) -> str:
    return f'<option value="{value}">{escape(text)}</option>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>'
        for name, text in facts
    )
    return f'<table class="facts"><tbody>{rows}</tbody></table>'
