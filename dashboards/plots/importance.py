"""Which genes matter to PSNR and to latency: the share of the variance among networks that goes
with each gene.
"""

from __future__ import annotations

import importlib.util
import math
import weakref
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.plots.forest import Explained, explain
from dashboards.plots.genes import flat, varying
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.style import BLUE, GRAY, VERMILLION, figure
from dashboards.study.records import Record, StudyRecords

AT_LEAST = 30  # networks: with fewer, the intervals are as wide as the shares
EXPLAINS = 0.1  # R² below which the genes' shares would be noise
SHOWN = 12  # genes in the picture; the table has all


@dataclass(frozen=True, kw_only=True)
class ImportanceData(Data):
    """`psnr` and `latency` (of its octaves): None where the genes explain too little of it.
    `genes` most important first.
    """

    psnr: Explained | None = None
    latency: Explained | None = None
    networks: tuple[int, int] = (0, 0)
    """How many were trained to the end, and how many were timed."""
    genes: tuple[str, ...] = ()

    @property
    def height_px(self) -> int:
        return 110 + 26 * min(SHOWN, len(self.genes))

    def table(self) -> Table:
        columns = ["gene"]
        columns += [
            f"{name}_share{end}" for name in ("psnr", "latency") for end in ("", "_low", "_high")
        ]
        return columns, [
            [gene, *_of(self.psnr, gene), *_of(self.latency, gene)] for gene in self.genes
        ]


_last: list[tuple[weakref.ref[StudyRecords], ImportanceData]] = []


def compute_importance(study: StudyRecords) -> ImportanceData:
    """What each gene of `study` means to PSNR and to latency; the last answer is kept, as three
    plots ask and it takes seconds.
    """
    if _last and _last[0][0]() is study:
        return _last[0][1]
    data = _compute(study)
    _last[:] = [(weakref.ref(study), data)]
    return data


def draw_importance(data: ImportanceData) -> go.Figure:
    """A row for each of the most important genes, a dot with its interval for each objective."""
    drawn = figure()
    genes = list(reversed(data.genes[:SHOWN]))
    for found, name, colour, symbol, shift in (
        (data.psnr, "PSNR", BLUE, "circle", 0.14),
        (data.latency, "latency, octaves", VERMILLION, "diamond", -0.14),
    ):
        if found is None:
            continue
        drawn.add_trace(
            go.Scatter(
                x=[found.share[gene] for gene in genes],
                y=[row + shift for row in range(len(genes))],
                mode="markers",
                name=f"{name} (R² {found.r2:.2f})",
                marker={"color": colour, "symbol": symbol, "size": 9},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [found.high[g] - found.share[g] for g in genes],
                    "arrayminus": [found.share[g] - found.low[g] for g in genes],
                    "thickness": 1.5,
                    "width": 3,
                },
                hovertext=[
                    f"<b>{g}</b><br>{found.share[g]:.1%} of the variance of {name}<br>95 "
                    f"% interval "
                    f"{found.low[g]:.1%} to {found.high[g]:.1%}"
                    for g in genes
                ],
                hoverinfo="text",
            )
        )
    drawn.add_shape(
        type="line", x0=0, x1=0, y0=0, y1=1, yref="paper", line={"color": GRAY, "width": 1}
    )
    drawn.update_yaxes(
        tickvals=list(range(len(genes))), ticktext=genes, range=[-0.6, len(genes) - 0.4]
    )
    drawn.update_xaxes(title="share of the variance among networks", tickformat=".0%")
    return drawn


def networks_with_genes(study: StudyRecords) -> list[Record]:
    """The networks, counted once, whose genome is known."""
    return [r for r in study.records if r.genome is not None and r.repeat_of is None]


def octaves(record: Record) -> float | None:
    """The latency as log2 of the ratio to MO; None where there is none."""
    return None if not record.ratio_to_mo else math.log2(record.ratio_to_mo)


def too_few(found: int, to_tell: str) -> str:
    """The sentence for a study with fewer networks than a model needs."""
    return f"{found} of at least {AT_LEAST} networks: too few to tell {to_tell}."


def left_out(study: StudyRecords) -> list[str]:
    """The sentence on the networks that have no final PSNR, where there are any."""
    stopped = sum(r.kind == "stopped" for r in networks_with_genes(study))
    return [
        f"PSNR leaves out {stopped} stopped early: what holds among the rest needn't hold for all."
    ] * (stopped > 0)


def _compute(study: StudyRecords) -> ImportanceData:
    known = networks_with_genes(study)
    points = [r for r in known if r.is_point]
    timed = [r for r in known if octaves(r) is not None]
    counts = len(points), len(timed)
    if len(points) < AT_LEAST:
        return ImportanceData(missing=too_few(len(points), "which gene matters"), networks=counts)
    if importlib.util.find_spec("sklearn") is None:
        return ImportanceData(
            missing="scikit-learn isn't installed, which tells what genes matter: run pip "
            "install '.[dashboard]'.",
            networks=counts,
        )
    psnr = _explained(points, [r.psnr_db or 0.0 for r in points])
    latency = (
        _explained(timed, [octaves(r) or 0.0 for r in timed]) if len(timed) >= AT_LEAST else None
    )
    shown = [found for found in (psnr, latency) if found is not None]
    if not shown:
        return ImportanceData(
            missing=f"From the genes of {len(points)} networks neither PSNR nor latency can be "
            f"told "
            "(out-of-bag R² below 0.1), so that no gene's importance can.",
            networks=counts,
        )
    names = dict.fromkeys(gene for found in shown for gene in found.share)
    ranked = sorted(names, key=lambda gene: -max(found.share.get(gene, 0.0) for found in shown))
    return ImportanceData(
        psnr=psnr,
        latency=latency,
        networks=counts,
        genes=tuple(ranked),
        caption=" ".join([*_told(psnr, latency, counts), *left_out(study)]),
    )


def _explained(records: list[Record], values: list[float]) -> Explained | None:
    rows = [flat(r.genome) for r in records if r.genome is not None]
    found = explain(rows, varying(rows), values)
    return found if found.r2 >= EXPLAINS else None


def _of(found: Explained | None, gene: str) -> list[float | None]:
    return (
        [None] * 3
        if found is None
        else [found.share.get(gene), found.low.get(gene), found.high.get(gene)]
    )


def _told(psnr: Explained | None, latency: Explained | None, counts: tuple[int, int]) -> list[str]:
    said = []
    for found, name, count, what in (
        (psnr, "PSNR", counts[0], "trained"),
        (latency, "latency", counts[1], "timed"),
    ):
        if found is None:
            said.append(
                f"The genes of {count} networks that were {what} don't tell their {name} "
                f"(R² below {EXPLAINS}): not shown."
            )
            continue
        first = sorted(found.share, key=lambda gene: -found.share[gene])[:3]
        most = ", ".join(f"{gene} ({found.share[gene]:.0%})" for gene in first)
        said.append(
            f"From the genes of {count} networks that were {what}, a model tells "
            f"{max(found.r2, 0):.0%} of the variance of "
            f"the {name} of networks it didn't see; the largest shares go with {most}."
        )
    said.append(
        "A gene's share is what it does alone and together with others, so that shares "
        "may add up to more than the whole. "
        "Bars are 95 % bootstrap intervals; one that reaches 0 tells nothing."
    )
    return said


IMPORTANCE = Plot("importance", "Which genes matter", compute_importance, draw_importance)
