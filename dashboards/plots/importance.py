"""Which genes matter to PSNR and to latency: each gene's share of the variance among networks."""

from __future__ import annotations

import importlib.util
import math
import weakref
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.forest import Explained, explain
from dashboards.plots.genes import flat, varying
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.style import BLUE, VERMILLION, add_line, empty_figure, error_bars
from dashboards.study.records import Record, StudyRecords

AT_LEAST = 30  # networks: with fewer, the intervals are as wide as the shares
EXPLAINS = 0.1  # R² below which the genes' shares would be noise
ROWS = 12  # genes in the plot; the table has all


@dataclass(frozen=True, kw_only=True)
class ImportanceData(Data):
    """`psnr`, `latency` (in octaves): None where genes explain too little; `genes` best first."""

    psnr: Explained | None = None
    latency: Explained | None = None
    networks: tuple[int, int] = (0, 0)  # how many were trained to the end, and how many timed
    genes: tuple[str, ...] = ()

    @property
    def height_px(self) -> int:
        return 110 + 26 * min(ROWS, len(self.genes))

    def table(self) -> Table:
        columns = ["gene"]
        rows: list[list[Any]] = [[gene] for gene in self.genes]
        for name, explained in (("psnr", self.psnr), ("latency", self.latency)):
            columns += [f"{name}_share", f"{name}_share_low", f"{name}_share_high"]
            for row in rows:
                for end in ("share", "low", "high"):
                    row.append(getattr(explained, end).get(row[0]) if explained else None)
        return columns, rows


_latest: list[tuple[weakref.ref[StudyRecords], ImportanceData]] = []


def compute_importance(study: StudyRecords) -> ImportanceData:
    """The importance of each gene of `study`; cached, as three plots use it and it takes long."""
    if _latest and _latest[0][0]() is study:
        return _latest[0][1]
    data = _compute(study)
    _latest[:] = [(weakref.ref(study), data)]
    return data


def draw_importance(data: ImportanceData) -> go.Figure:
    """A row for each of the most important genes, a dot with its interval for each objective."""
    figure = empty_figure()
    genes = list(reversed(data.genes[:ROWS]))
    for explained, name, colour, symbol, shift in (
        (data.psnr, "PSNR", BLUE, "circle", 0.14),
        (data.latency, "latency, octaves", VERMILLION, "diamond", -0.14),
    ):
        if explained is None:
            continue
        share, low, high = explained.share, explained.low, explained.high
        above, below = [high[g] - share[g] for g in genes], [share[g] - low[g] for g in genes]
        figure.add_scatter(
            x=[share[gene] for gene in genes],
            y=[row + shift for row in range(len(genes))],
            mode="markers",
            name=f"{name} (R² {explained.r2:.2f})",
            marker={"color": colour, "symbol": symbol, "size": 9},
            error_x=error_bars(above, below, thickness=1.5, width=3),
            hovertext=[
                f"<b>{g}</b><br>{share[g]:.1%} of the variance of {name}<br>95 % interval "
                f"{low[g]:.1%} to {high[g]:.1%}"
                for g in genes
            ],
            hoverinfo="text",
        )
    add_line(figure, x=0, width=1)
    rows = list(range(len(genes)))
    figure.update_yaxes(tickvals=rows, ticktext=genes, range=[-0.6, len(genes) - 0.4])
    return figure.update_xaxes(title="share of the variance among networks", tickformat=".0%")


def networks_with_genes(study: StudyRecords) -> list[Record]:
    """The networks, counted once, whose genome is known."""
    return [r for r in study.records if r.genome is not None and r.repeat_of is None]


def octaves(record: Record) -> float | None:
    """The latency as log2 of the ratio to MO; None where there is none."""
    return None if not record.ratio_to_mo else math.log2(record.ratio_to_mo)


def without_stopped(study: StudyRecords) -> list[str]:
    """The sentence on the networks that have no final PSNR, where there are any."""
    stopped = sum(record.kind == "stopped" for record in networks_with_genes(study))
    sentence = "stopped early: what holds among the rest needn't hold for all."
    return [f"PSNR leaves out {stopped} {sentence}"] if stopped else []


def _compute(study: StudyRecords) -> ImportanceData:
    networks = networks_with_genes(study)
    points = [record for record in networks if record.is_point]
    timed = [record for record in networks if octaves(record) is not None]
    counts = len(points), len(timed)
    missing, psnr, latency = None, None, None
    if len(points) < AT_LEAST:
        count = f"{len(points)} of at least {AT_LEAST}"
        missing = f"{count} networks: too few to tell which gene matters."
    elif importlib.util.find_spec("sklearn") is None:
        missing = "scikit-learn isn't installed, which tells: run pip install '.[dashboard]'."
    else:
        psnr = _explain(points, [record.psnr_db or 0.0 for record in points])
        if len(timed) >= AT_LEAST:
            latency = _explain(timed, [octaves(record) or 0.0 for record in timed])
        if psnr is None and latency is None:
            missing = (
                f"The genes of {len(points)} networks predict neither PSNR nor latency "
                f"(out-of-bag R² below {EXPLAINS}), so that no gene's importance is known."
            )
    if missing:
        return ImportanceData(missing=missing, networks=counts)
    shares = [explained.share for explained in (psnr, latency) if explained is not None]
    names = dict.fromkeys(gene for share in shares for gene in share)
    genes = sorted(names, key=lambda gene: -max(share.get(gene, 0.0) for share in shares))
    return ImportanceData(
        psnr=psnr,
        latency=latency,
        networks=counts,
        genes=tuple(genes),
        caption=" ".join([*_caption(psnr, latency, counts), *without_stopped(study)]),
    )


def _explain(records: list[Record], values: list[float]) -> Explained | None:
    rows = [flat(record.genome) for record in records if record.genome is not None]
    explained = explain(rows, varying(rows), values)
    return explained if explained.r2 >= EXPLAINS else None


def _caption(
    psnr: Explained | None, latency: Explained | None, counts: tuple[int, int]
) -> list[str]:
    sentences = []
    for explained, name, count, how in (
        (psnr, "PSNR", counts[0], "trained"),
        (latency, "latency", counts[1], "timed"),
    ):
        if explained is None:
            sentences.append(
                f"The genes of {count} networks that were {how} don't predict their {name} "
                f"(R² below {EXPLAINS}): not shown."
            )
            continue
        first = sorted(explained.share, key=lambda gene: -explained.share[gene])[:3]
        most = ", ".join(f"{gene} ({explained.share[gene]:.0%})" for gene in first)
        sentences.append(
            f"From the genes of {count} networks that were {how}, a model predicts "
            f"{max(explained.r2, 0):.0%} of the variance of the {name} of networks it didn't see; "
            f"the largest shares go with {most}."
        )
    return [
        *sentences,
        "A gene's share is what it does alone and together with others, so that shares may add up "
        "to more than 100 %. Bars are 95 % bootstrap intervals; one that reaches 0 shows nothing.",
    ]


IMPORTANCE = Plot("importance", "Which genes matter", compute_importance, draw_importance)
