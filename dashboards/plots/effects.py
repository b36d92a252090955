"""What each choice of the most important genes goes with: the mean difference in PSNR and in
latency, with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from dashboards.plots.genes import Value, flat, levels
from dashboards.plots.importance import compute_importance, left_out, networks_with_genes, octaves
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.style import BLUE, GRAY, LIGHT, VERMILLION
from dashboards.study.records import StudyRecords

GENES = 8
AT_LEAST = 5  # networks with a choice, for an interval
DRAWS = 1000

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Effect:
    """One choice of one gene: how many networks made it, and by how much their mean differs from
    that of all networks on which the gene acts, in dB and in octaves of latency (negative:
    faster). None where too few made it.
    """

    gene: str
    choice: Value
    networks: int
    psnr_db: Difference | None
    octaves: Difference | None


@dataclass(frozen=True, kw_only=True)
class EffectsData(Data):
    """`effects` gene by gene, the most important first, each gene's choices in order."""

    effects: tuple[Effect, ...] = ()

    @property
    def height_px(self) -> int:
        return 110 + 21 * (len(self.effects) + len({e.gene for e in self.effects}))

    def table(self) -> Table:
        columns = [
            "gene",
            "choice",
            "networks",
            "psnr_db",
            "psnr_low_db",
            "psnr_high_db",
            "octaves",
            "octaves_low",
            "octaves_high",
        ]
        return columns, [
            [e.gene, e.choice, e.networks, *_ends(e.psnr_db), *_ends(e.octaves)]
            for e in self.effects
        ]


def compute_effects(study: StudyRecords) -> EffectsData:
    """The effects in `study`; they need what importance needs."""
    importance = compute_importance(study)
    if importance.missing:
        return EffectsData(missing=importance.missing)
    networks = [r for r in networks_with_genes(study) if r.is_point and octaves(r) is not None]
    rows = [flat(r.genome) for r in networks if r.genome is not None]
    figures = np.array([[r.psnr_db, octaves(r)] for r in networks], dtype=np.float64)
    found = [
        effect for gene in importance.genes[:GENES] for effect in effects_of(gene, rows, figures)
    ]
    return EffectsData(effects=tuple(found), caption=" ".join([_caption(found), *left_out(study)]))


def effects_of(gene: str, rows: Sequence[dict[str, Value]], figures: Floats) -> list[Effect]:
    """What each choice of `gene` goes with; `figures` has the PSNR in dB and the latency in
    octaves of each row.
    """
    acts = [index for index, row in enumerate(rows) if gene in row]
    choices = levels(rows, gene)
    made = np.array(
        [[rows[index][gene] == choice for choice in choices] for index in acts], dtype=np.float64
    )
    means = _differences(made, figures[acts], np.ones((1, len(acts))))[0]
    chance = np.random.default_rng(0)
    draws = chance.multinomial(len(acts), np.full(len(acts), 1 / len(acts)), size=DRAWS).astype(
        np.float64
    )
    low, high = np.nanpercentile(_differences(made, figures[acts], draws), [2.5, 97.5], axis=0)
    counts = made.sum(axis=0).astype(int)
    effects = []
    for place, choice in enumerate(choices):
        psnr, latency = (
            Difference(
                mean=float(means[place, k]), low=float(low[place, k]), high=float(high[place, k])
            )
            for k in (0, 1)
        )
        enough = counts[place] >= AT_LEAST
        effects.append(
            Effect(
                gene=gene,
                choice=choice,
                networks=int(counts[place]),
                psnr_db=psnr if enough else None,
                octaves=latency if enough else None,
            )
        )
    return effects


def draw_effects(data: EffectsData) -> go.Figure:
    """A row for each choice under its gene's name; PSNR on the left, latency on the right."""
    drawn = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    drawn.update_layout(template=LIGHT, showlegend=False)
    labels, rows = _rows(data.effects)
    for column, name, unit, colour, symbol in (
        (1, "psnr_db", "dB", BLUE, "circle"),
        (2, "octaves", "octaves", VERMILLION, "diamond"),
    ):
        at = [
            (row, effect, difference)
            for row, effect in rows
            if (difference := getattr(effect, name)) is not None
        ]
        drawn.add_trace(
            go.Scatter(
                x=[d.mean for _, _, d in at],
                y=[row for row, _, _ in at],
                mode="markers",
                marker={"color": colour, "symbol": symbol, "size": 8},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [d.high - d.mean for _, _, d in at],
                    "arrayminus": [d.mean - d.low for _, _, d in at],
                    "thickness": 1.5,
                    "width": 3,
                },
                hovertext=[
                    f"<b>{e.gene}: {e.choice}</b> ({e.networks} "
                    f"networks)<br>{d.mean:+.2f} {unit}<br>95 % interval {d.low:+.2f} to "
                    f"{d.high:+.2f}"
                    for _, e, d in at
                ],
                hoverinfo="text",
            ),
            row=1,
            col=column,
        )
        drawn.add_vline(x=0, line={"color": GRAY, "width": 1}, row=1, col=column)
    drawn.update_yaxes(
        tickvals=[-row for row in range(len(labels))],
        ticktext=labels,
        range=[-len(labels) + 0.4, 0.6],
        showgrid=False,
    )
    drawn.update_xaxes(title="PSNR, dB", nticks=5, row=1, col=1)
    drawn.update_xaxes(title="latency, octaves", nticks=5, row=1, col=2)
    return drawn


def _differences(made: Floats, figures: Floats, draws: Floats) -> Floats:
    """(draw, choice, figure): the mean with the choice less the mean of all; `draws` says how
    often each network counts.
    """
    sums = np.einsum("dn,nc,nf->dcf", draws, made, figures, optimize=True)
    overall = draws @ figures / draws.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a choice that a draw left out has no mean there
        return np.asarray(sums / (draws @ made)[:, :, None] - overall[:, None, :])


def _rows(effects: Sequence[Effect]) -> tuple[list[str], list[tuple[int, Effect]]]:
    """The labels from top to bottom, and the y of each effect."""
    labels: list[str] = []
    rows: list[tuple[int, Effect]] = []
    gene = None
    for effect in effects:
        if effect.gene != gene:
            gene = effect.gene
            labels.append(f"<b>{gene}</b>")
        rows.append((-len(labels), effect))
        labels.append(f"{effect.choice} ({effect.networks})")
    return labels, rows


def _ends(difference: Difference | None) -> list[float | None]:
    return [None] * 3 if difference is None else [difference.mean, difference.low, difference.high]


def _caption(effects: Sequence[Effect]) -> str:
    said = [
        "Each choice against the mean of all networks on which its gene acts, in brackets "
        "how many made it; bars are 95 % "
        "bootstrap intervals, and choices of fewer than 5 networks have none."
    ]
    shown = [(e, e.psnr_db) for e in effects if e.psnr_db is not None]
    if shown:
        best, gain = max(shown, key=lambda pair: pair[1].mean)
        said.append(
            f"The largest gain in PSNR goes with {best.gene} {best.choice}: {gain.mean:+.2f} dB "
            f"({gain.low:+.2f} to {gain.high:+.2f})."
        )
    timed = [(e, e.octaves) for e in effects if e.octaves is not None]
    if timed:
        fast, gain = min(timed, key=lambda pair: pair[1].mean)
        said.append(
            f"The largest gain in speed goes with {fast.gene} {fast.choice}: "
            f"{gain.mean:+.2f} octaves of latency, "
            f"{2**gain.mean:.2f} times."
        )
    said.append(
        "These are observations, not experiments: the search chose what to try, and other "
        "genes vary with them."
    )
    return " ".join(said)


EFFECTS = Plot("effects", "What each choice goes with", compute_effects, draw_effects)
