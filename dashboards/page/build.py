"""A study as one page: `build_page` computes and draws the plots, fills the sections and gives
back the whole file's text.
"""

from __future__ import annotations

import datetime
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from plotly.offline import get_plotlyjs

from dashboards.page import gallery as pictures
from dashboards.page import sections
from dashboards.page.embedded_json import embed_json
from dashboards.page.measured import how_measured
from dashboards.page.table import export_command, front_table
from dashboards.page.words import counted, figures_in_words, network_in_words
from dashboards.plots import DARK, LIGHT, PLOTS
from dashboards.study.artifacts import Artifacts
from dashboards.study.records import Record, StudyRecords

# Bytes of a whole page, of which a little is left for what isn't counted: words, style, script,
# and so many for each member. Only plots and figures of far more than 2,000 trials can go beyond
# it.
LIMIT = 12_000_000
SPARE, SPARE_EACH = 300_000, 600
# Plots whose dots are told by the card, not by a label beside the pointer.
CARDED = ("front", "ratio")
GENERATOR = "dark-nas report"


def build_page(
    study: StudyRecords,
    artifacts: Artifacts,
    *,
    runs: Path = Path("runs"),
    storage: str | None = None,
) -> str:
    """The page as HTML, below LIMIT bytes; `runs` and `storage` go into the export commands."""
    data = {plot.name: plot.compute(study) for plot in PLOTS}
    figures = {
        plot.name: _figure(plot.name, plot.draw(data[plot.name]))
        for plot in PLOTS
        if not data[plot.name].missing
    }
    if "parallel" in figures:
        figures["parallel"]["numbers"] = list(data["parallel"].numbers)
    members = pictures.members(study)
    table = front_table(
        members, [export_command(study.study, one.number, runs, storage) for one in members]
    )
    embedded = [
        embed_json(
            "trials", {one.number: _card(one) for one in study.records if pictures.has_dot(one)}
        ),
        embed_json("plots", figures),
    ]
    embedded.append(
        embed_json("templates", {"light": LIGHT.to_plotly_json(), "dark": DARK.to_plotly_json()})
    )
    plotly = get_plotlyjs()
    fixed = len(plotly) + sum(len(one.encode()) for one in embedded) + len(table.encode())
    shown = pictures.fill(study, artifacts, LIMIT - SPARE - SPARE_EACH * len(members) - fixed)
    missing = [*artifacts.told(study.records), *shown.told]
    titles = {plot.name: plot.title for plot in PLOTS}
    plots = {
        name: sections.plot(
            name, titles[name], one.missing, one.caption, _height(figures.get(name))
        )
        for name, one in data.items()
    }
    body = sections.body(study, members, plots, shown, table, how_measured(study), missing)
    now = datetime.datetime.now(datetime.UTC)
    return Template(_file("page.html")).substitute(
        generator=GENERATOR,
        title=escape(f"{study.study}: report"),
        heading=escape(study.study),
        sentence=escape(sections.sentence(study)),
        style=_file("style.css"),
        figures="".join(
            f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>"
            for what, value in sections.key_figures(study)
        ),
        sections=body,
        footer=escape(
            f"Written {now:%Y-%m-%d %H:%M} UTC by python -m dashboards.report, from "
            f"{counted(len(study.records), 'trial')}. This file needs no internet."
        ),
        embedded="\n".join([*embedded, embed_json("gallery", shown.embed_json())]),
        plotly=plotly,
        script=_file("page.js"),
    )


def _figure(name: str, figure: Any) -> dict[str, Any]:
    """A figure as plain values, without what the page has itself: both templates, and cards for
    what is pointed at.
    """
    plain: dict[str, Any] = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    for trace in plain["data"]:
        if (
            len(trace.get("customdata") or ()) == len(trace.get("hovertext") or ())
            and name in CARDED
        ):
            trace.pop("hovertext", None)
    return plain


def _height(figure: dict[str, Any] | None) -> int | None:
    """Pixels that a figure with a row for each tick needs; None where its usual height will do."""
    rows = len(((figure or {}).get("layout", {}).get("yaxis") or {}).get("ticktext") or ())
    return 110 + 17 * rows if rows > 18 else None


def _card(record: Record) -> dict[str, Any]:
    mark = ", ".join(
        word
        for word, holds in (
            ("published", record.baseline),
            ("on the front", record.on_front),
            ("stopped early", record.kind == "stopped"),
        )
        if holds
    )
    return {
        "name": record.name,
        "mark": mark or "searched",
        "figures": figures_in_words(record),
        "words": network_in_words(record.genome),
        "message": record.message,
    }


def _file(name: str) -> str:
    return files("dashboards.page").joinpath(name).read_text(encoding="utf-8")
