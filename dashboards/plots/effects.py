"""The effect of each choice of the most important genes on PSNR and latency, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from dashboards.plots.genes import Value, choices_of, flat
from dashboards.plots.importance import (
    compute_importance,
    networks_with_genes,
    octaves,
    without_stopped,
)
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.style import BLUE, GRAY, LIGHT, VERMILLION, error_bars
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


@dataclass(frozen=True)
class Effect:
    """A gene's choice: how many networks made it, and how their mean differs from that of all on
    which the gene acts, in dB and octaves of latency (below 0: faster); None where too few did.
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
        return 110 + 21 * (len(self.effects) + len({effect.gene for effect in self.effects}))

    def table(self) -> Table:
        columns = ["gene", "choice", "networks", "psnr_db", "psnr_low_db", "psnr_high_db"]
        columns += ["octaves", "octaves_low", "octaves_high"]
        rows: list[list[Any]] = []
        for effect in self.effects:
            row: list[Any] = [effect.gene, effect.choice, effect.networks]
            for one in (effect.psnr_db, effect.octaves):
                row += [None] * 3 if one is None else [one.mean, one.low, one.high]
            rows.append(row)
        return columns, rows


def compute_effects(study: StudyRecords) -> EffectsData:
    """The effects in `study`; they need what importance needs."""
    importance = compute_importance(study)
    if importance.missing:
        return EffectsData(missing=importance.missing)
    networks = [r for r in networks_with_genes(study) if r.is_point and octaves(r) is not None]
    rows = [flat(r.genome) for r in networks if r.genome is not None]
    figures = np.array([[r.psnr_db, octaves(r)] for r in networks], dtype=np.float64)
    effects = [
        effect for gene in importance.genes[:GENES] for effect in effects_of(gene, rows, figures)
    ]
    caption = " ".join([*_caption(effects), *without_stopped(study)])
    return EffectsData(effects=tuple(effects), caption=caption)


def effects_of(gene: str, rows: Sequence[dict[str, Value]], figures: Floats) -> list[Effect]:
    """The effect of each choice of `gene`; `figures` are [row, (PSNR in dB, octaves)]."""
    acts = [index for index, row in enumerate(rows) if gene in row]
    choices = choices_of(rows, gene)
    chosen = np.array(
        [[rows[index][gene] == choice for choice in choices] for index in acts], dtype=np.float64
    )
    means = _differences(chosen, figures[acts], np.ones((1, len(acts))))[0]
    draws = np.random.default_rng(0).multinomial(
        len(acts), np.full(len(acts), 1 / len(acts)), size=DRAWS
    )
    resampled = _differences(chosen, figures[acts], draws.astype(np.float64))
    low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
    effects = []
    for index, (choice, count) in enumerate(zip(choices, chosen.sum(axis=0), strict=True)):
        ends = np.stack([means[index], low[index], high[index]]).T.tolist()
        psnr, latency = (Difference(mean=m, low=lo, high=hi) for m, lo, hi in ends)
        both = (psnr, latency) if count >= AT_LEAST else (None, None)
        effects.append(Effect(gene, choice, int(count), *both))
    return effects


def draw_effects(data: EffectsData) -> go.Figure:
    """A row for each choice under its gene's name; PSNR on the left, latency on the right."""
    figure = make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.04)
    figure.update_layout(template=LIGHT, showlegend=False)
    labels: list[str] = []
    rows: list[tuple[int, Effect]] = []  # y and the effect there
    for effect in data.effects:
        if not rows or effect.gene != rows[-1][1].gene:
            labels.append(f"<b>{effect.gene}</b>")
        rows.append((-len(labels), effect))
        labels.append(f"{effect.choice} ({effect.networks})")
    for column, name, unit, colour, symbol in (
        (1, "psnr_db", "dB", BLUE, "circle"),
        (2, "octaves", "octaves", VERMILLION, "diamond"),
    ):
        dots: list[tuple[int, Effect, Difference]] = [
            (y, effect, getattr(effect, name)) for y, effect in rows if getattr(effect, name)
        ]
        above, below = [d.high - d.mean for *_, d in dots], [d.mean - d.low for *_, d in dots]
        figure.add_scatter(
            x=[d.mean for *_, d in dots],
            y=[y for y, *_ in dots],
            mode="markers",
            marker={"color": colour, "symbol": symbol, "size": 8},
            error_x=error_bars(above, below, thickness=1.5, width=3),
            hovertext=[
                f"<b>{e.gene}: {e.choice}</b> ({e.networks} networks)<br>{d.mean:+.2f} {unit}<br>"
                f"95 % interval {d.low:+.2f} to {d.high:+.2f}"
                for _, e, d in dots
            ],
            hoverinfo="text",
            row=1,
            col=column,
        )
        figure.add_vline(x=0, line={"color": GRAY, "width": 1}, row=1, col=column)
        title = "PSNR, dB" if unit == "dB" else "latency, octaves"
        figure.update_xaxes(title=title, nticks=5, row=1, col=column)
    return figure.update_yaxes(
        tickvals=[-row for row in range(len(labels))],
        ticktext=labels,
        range=[-len(labels) + 0.4, 0.6],
        showgrid=False,
    )


def _differences(chosen: Floats, figures: Floats, draws: Floats) -> Floats:
    """[draw, choice, figure]: the choice's mean less that of all; `draws` are [draw, network]."""
    sums = np.einsum("dn,nc,nf->dcf", draws, chosen, figures, optimize=True)
    overall = draws @ figures / draws.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # a choice that a draw left out has no mean there
        return np.asarray(sums / (draws @ chosen)[:, :, None] - overall[:, None, :])


def _caption(effects: Sequence[Effect]) -> list[str]:
    sentences = [
        "Each choice against the mean of all networks on which its gene acts, in brackets how "
        "many made it; bars are 95 % bootstrap intervals, and choices of fewer than 5 networks "
        "have none."
    ]
    trained = [(effect, effect.psnr_db) for effect in effects if effect.psnr_db is not None]
    if trained:
        best, gain = max(trained, key=lambda pair: pair[1].mean)
        sentences.append(
            f"The largest gain in PSNR goes with {best.gene} {best.choice}: {gain.mean:+.2f} dB "
            f"({gain.low:+.2f} to {gain.high:+.2f})."
        )
    timed = [(effect, effect.octaves) for effect in effects if effect.octaves is not None]
    if timed:
        fast, gain = min(timed, key=lambda pair: pair[1].mean)
        sentences.append(
            f"The largest gain in speed goes with {fast.gene} {fast.choice}: {gain.mean:+.2f} "
            f"octaves of latency, {2**gain.mean:.2f} times."
        )
    return [
        *sentences,
        "These are observations, not experiments: the search chose what to try, and other genes "
        "vary with them.",
    ]


EFFECTS = Plot("effects", "What each choice goes with", compute_effects, draw_effects)
