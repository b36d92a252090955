"""A study as one page: `build_page` draws the plots, fills the sections, returns the HTML."""

from __future__ import annotations

import datetime
import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dashboards.page import sections
from dashboards.page.embedded_json import embed_json
from dashboards.page.gallery import fill_gallery, has_dot, members_of
from dashboards.page.measured import how_measured
from dashboards.page.sections import page_file
from dashboards.page.table import export_command, front_table
from dashboards.page.words import counted, figures_in_words, network_in_words
from dashboards.plots import DARK, LIGHT, PLOTS
from dashboards.study.artifacts import Artifacts
from dashboards.study.records import Record, StudyRecords

# Bytes of a whole page, some of them spare for what isn't counted: words, style, script, and some
# for each member. Only plots and figures of far more than 2,000 trials can go beyond it.
LIMIT = 12_000_000
SPARE, SPARE_EACH = 300_000, 600
# Plots whose dots are explained by the card, not by a label beside the pointer.
WITH_CARD = ("front", "ratio")
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
    plots = {
        plot.name: sections.plot(plot, data[plot.name], _height_px(figures.get(plot.name)))
        for plot in PLOTS
    }
    members = members_of(study)
    commands = [export_command(study.study, one.number, runs, storage) for one in members]
    table = front_table(members, commands)
    cards = {record.number: _card(record) for record in study.records if has_dot(record)}
    templates = {"light": LIGHT.to_plotly_json(), "dark": DARK.to_plotly_json()}
    embedded = [
        embed_json(name, value)
        for name, value in (("trials", cards), ("plots", figures), ("templates", templates))
    ]
    plotly = get_plotlyjs()
    fixed = len(plotly) + sum(len(text.encode()) for text in (*embedded, table))
    gallery = fill_gallery(study, artifacts, LIMIT - SPARE - SPARE_EACH * len(members) - fixed)
    missing = [*artifacts.missing(study.records), *gallery.left_out]
    now = datetime.datetime.now(datetime.UTC)
    return Template(page_file("page.html")).substitute(
        generator=GENERATOR,
        title=escape(f"{study.study}: report"),
        heading=escape(study.study),
        sentence=escape(sections.sentence(study)),
        style=page_file("style.css"),
        figures=sections.key_figures(study),
        sections=sections.body(
            study, members, plots, gallery, table, how_measured(study), missing
        ),
        footer=escape(
            f"Written {now:%Y-%m-%d %H:%M} UTC by python -m dashboards.report, from "
            f"{counted(len(study.records), 'trial')}. This file needs no internet."
        ),
        embedded="\n".join([*embedded, embed_json("gallery", vars(gallery))]),
        plotly=plotly,
        script=page_file("page.js"),
    )


def _figure(name: str, figure: go.Figure) -> dict[str, Any]:
    """Plain values, without what the page has itself: templates, and cards for hover texts."""
    plain: dict[str, Any] = json.loads(figure.to_json())
    plain["layout"].pop("template", None)
    for trace in plain["data"]:
        dots = len(trace.get("customdata") or ())
        if name in WITH_CARD and dots == len(trace.get("hovertext") or ()):
            trace.pop("hovertext", None)
    return plain


def _height_px(figure: dict[str, Any] | None) -> int | None:
    """The height that a figure with a row for each tick needs; None where the usual will do."""
    rows = len(((figure or {}).get("layout", {}).get("yaxis") or {}).get("ticktext") or ())
    return 110 + 17 * rows if rows > 18 else None


def _card(record: Record) -> dict[str, Any]:
    marks = ["published"] if record.baseline else []
    marks += ["on the front"] if record.on_front else []
    marks += ["stopped early"] if record.kind == "stopped" else []
    return {
        "name": record.name,
        "mark": ", ".join(marks) or "searched",
        "figures": figures_in_words(record),
        "words": network_in_words(record.genome),
        "message": record.message,
    }
