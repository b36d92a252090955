"""The table of the front and the baselines, each with the command that exports it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from pathlib import Path

from dashboards.page.words import gmac, millions, network_in_words, number, ratio
from dashboards.study.records import Record

# Title, unit, and whether it sorts as a number.
COLUMNS = (
    ("network", "", False),
    ("trial", "", True),
    ("PSNR", "dB", True),
    ("SSIM", "", True),
    ("latency", "ms", True),
    ("times MO", "95 % interval", True),
    ("work", "GMAC", True),
    ("parameters", "M", True),
    ("what it is", "", False),
)


def export_command(study: str, trial: int, runs: Path, storage: str | None) -> str:
    """The command that writes trial `trial` as a folder; defaults aren't spelled out."""
    words = ["python", "-m", "nas.export", "--study", study, "--trial", str(trial)]
    words += ["--out", f"exports/trial-{trial:04d}"]
    words += ["--runs", str(runs)] if runs != Path("runs") else []
    words += ["--storage", storage] if storage is not None else []
    return shlex.join(words)


def front_table(records: Sequence[Record], commands: Sequence[str]) -> str:
    """The table as HTML: each network's figures, and its command with a button that copies it."""
    head = "".join(
        f'<th scope="col" aria-sort="{"ascending" if title == "latency" else "none"}">'
        f'<button type="button" data-sort="{"number" if numeric else "text"}">{escape(title)}'
        f"<small>{escape(unit)}</small></button></th>"
        for title, unit, numeric in COLUMNS
    )
    rows = "".join(map(_rows, records, commands))
    return f"<table><thead><tr>{head}</tr></thead>{rows}</table>"


def _rows(record: Record, command: str) -> str:
    cells: list[tuple[str, float | str | None]] = [
        (str(record.number), float(record.number)),
        (number(record.psnr_db, 2), record.psnr_db),
        (number(record.ssim, 3), record.ssim),
        (number(record.latency_ms, 2), record.latency_ms),
        (ratio(record), record.ratio_to_mo),
        (gmac(record).removesuffix(" GMAC"), record.macs),
        (millions(record).removesuffix(" M"), record.parameters),
    ]
    figures = "".join(
        f'<td class="number" data-value="{"" if value is None else value}">{escape(text)}</td>'
        for text, value in cells
    )
    kind, mark = ("on-front", "front") if record.on_front else ("off-front", "not on the front")
    name, words = escape(record.name), escape(network_in_words(record.genome))
    trial, command = record.number, escape(command)
    return (
        f'<tbody data-trial="{trial}" class="{kind}"><tr><th scope="row" data-value="{name}">'
        f'<button type="button" class="link" data-pin="{trial}">{name}</button> '
        f'<small>{mark}</small></th>{figures}<td class="words" data-value="{words}">{words}</td>'
        f'</tr><tr class="command"><td colspan="{len(COLUMNS)}"><div><code>{command}</code>'
        f'<button type="button" data-copy="{command}" '
        f'aria-label="copy the export command of trial {trial}">copy</button></div></td></tr>'
        "</tbody>"
    )
