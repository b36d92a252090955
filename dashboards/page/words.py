"""A network and its figures in words, as the page's table and card show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dashboards.study.records import Record

NONE = "–"
# Kinds of trials that are no network on the plots.
KINDS = {
    "stopped": "stopped early at a rung",
    "over_limit": "slower than the limit, not trained",
    "out_of_memory": "out of memory",
    "diverged": "diverged in training",
    "error": "failed",
    "fail": "failed",
    "interrupted": "killed, and tried again",
}
HEADS = {"none": "no head", "add": "head added", "concat": "head concatenated"}


def network_in_words(genome: Mapping[str, Any] | None) -> str:
    """What a network is, in one line; empty where nothing is known of it."""
    if not genome:
        return ""
    branches = [_branch(branch) for branch in genome.get("branches") or ()]
    deep = " + ".join(branches) or "no deep branch"
    if len(branches) > 1:
        deep += f", fused by {genome.get('fusion')}"
    trunk = f"trunk {genome.get('skip_width', '?')} wide"
    if genome.get("skip_blocks"):
        trunk += f", {genome['skip_blocks']} {genome.get('skip_block')}"
    fine = f"stage at 4x {genome['fine_width']} wide" if genome.get("fine_width") else ""
    if fine and genome.get("fine_blocks"):
        fine += f", {genome['fine_blocks']} {genome.get('fine_block')}"
    head = HEADS.get(str(genome.get("head")), "")
    return "; ".join(part for part in (deep, trunk, fine, head) if part)


def _branch(branch: Mapping[str, Any]) -> str:
    blocks, block = branch.get("blocks"), branch.get("block")
    words = f"{blocks} {'RDB' if block == 'rdb' else block}" if blocks else "no blocks"
    if branch.get("growth") and blocks:
        layers, first = branch.get("layers"), branch.get("first_layers")
        dense = layers if first in (None, layers) or blocks == 1 else f"{first}/{layers}"
        words += f" of {dense} layers, growth {branch['growth']}"
    refined = ", refined" if branch.get("refine") else ""
    return f"{branch.get('scale')}x: {words}, {branch.get('width')} wide{refined}"


def figures_in_words(record: Record) -> list[tuple[str, str]]:
    """(name, value with its unit) of one trial, for its card; what is unknown is left out."""
    figures = [
        ("PSNR", decibels(record.psnr_db)),
        ("SSIM", number(record.ssim, 3)),
        ("latency", milliseconds(record.latency_ms)),
        ("times MO", ratio(record)),
        ("work", gmac(record)),
        ("parameters", millions(record)),
    ]
    return [(name, value) for name, value in figures if value != NONE]


def number(value: float | None, decimals: int) -> str:
    """A figure with so many decimals, or a dash."""
    return NONE if value is None else f"{value:.{decimals}f}"


def decibels(value: float | None) -> str:
    return NONE if value is None else f"{value:.2f} dB"


def milliseconds(value: float | None) -> str:
    return NONE if value is None else f"{value:.{1 if value >= 10 else 2}f} ms"


def ratio(record: Record) -> str:
    """The latency ratio to MO, with its 95 % interval where there is one."""
    value, low, high = record.ratio_to_mo, record.ratio_low, record.ratio_high
    if value is None or low is None or high is None or low == high:
        return number(value, 2)
    return f"{value:.2f} ({low:.2f} to {high:.2f})"


def gmac(record: Record) -> str:
    return NONE if record.macs is None else f"{_small(record.macs / 1e9)} GMAC"


def millions(record: Record) -> str:
    return NONE if record.parameters is None else f"{_small(record.parameters / 1e6)} M"


def _small(value: float) -> str:
    """Two decimals; four below 0.1, so that the smallest networks differ."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever reads best."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def counted(count: int, one: str) -> str:
    """ "1 network", "2,000 networks"."""
    return f"{count:,} {one if count == 1 else one + 's'}"


def size(count: int) -> str:
    """Bytes in MB."""
    return f"{count / 1e6:.1f} MB"
