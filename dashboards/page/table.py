"""The table of the front and the seeds, each with the command that exports it."""

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
    """The command that writes trial `trial` as a folder; with --runs and --storage where they
    aren't the default.
    """
    words = [
        "python",
        "-m",
        "nas.export",
        "--study",
        study,
        "--trial",
        str(trial),
        "--out",
        f"exports/trial-{trial:04d}",
    ]
    if runs != Path("runs"):
        words += ["--runs", str(runs)]
    if storage is not None:
        words += ["--storage", storage]
    return shlex.join(words)


def front_table(records: Sequence[Record], commands: Sequence[str]) -> str:
    """The rows as HTML: each network's figures, and under them its command with a button that
    copies it.
    """
    head = "".join(
        f'<th scope="col" '
        f'aria-sort="{"ascending" if title == "latency" else "none"}"><button '
        f'type="button" data-sort="'
        f'{"number" if numeric else "text"}">{escape(title)}<small>{escape(unit)}</small></button></th>'
        for title, unit, numeric in COLUMNS
    )
    rows = "".join(
        _rows(record, command) for record, command in zip(records, commands, strict=True)
    )
    return f"<table><thead><tr>{head}</tr></thead>{rows}</table>"


def _rows(record: Record, command: str) -> str:
    mark = "front" if record.on_front else "not on the front"
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
    words = escape(network_in_words(record.genome))
    return (
        f'<tbody data-trial="{record.number}" '
        f'class="{"on-front" if record.on_front else "off-front"}"><tr>'
        f'<th scope="row" data-value="{escape(record.name)}"><button type="button" '
        f'class="link" data-pin="{record.number}">'
        f"{escape(record.name)}</button> <small>{mark}</small></th>{figures}<td "
        f'class="words" data-value="{words}">{words}</td></tr>'
        f'<tr class="command"><td colspan="{len(COLUMNS)}"><div><code>{escape(command)}</code>'
        f'<button type="button" data-copy="{escape(command)}" aria-label="copy the export '
        f'command of trial {record.number}">copy'
        "</button></div></td></tr></tbody>"
    )
