"""Parallel coordinates: each network a line through its figures and the genes that matter most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots import points as dots
from dashboards.plots.genes import BELOW, Value, flat, levels, summary
from dashboards.plots.importance import compute_importance
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.ratio import octaves
from dashboards.plots.style import BLUE, GRAY, VERMILLION, figure, ticks
from dashboards.study.records import Record, StudyRecords

GENES = 6
GROUPS = ("searched", "front", "baseline")


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis: `values` are what is shown, `heights` where they lie on it, `tick_heights` and
    `tick_texts` its labels.
    """

    label: str
    column: str
    """The name of its column in the table, with its unit."""
    values: tuple[Any, ...]
    heights: tuple[float, ...]
    tick_heights: tuple[float, ...]
    tick_texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ParallelData(Data):
    """`numbers` the trials in the order of the lines, `groups` searched, front or seed (index of
    GROUPS) of each.
    """

    numbers: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    axes: tuple[Axis, ...] = ()

    @property
    def width_px(self) -> int:
        return 76 * len(self.axes)

    def table(self) -> Table:
        rows = zip(self.numbers, *(axis.values for axis in self.axes), strict=True)
        return ["trial", *(axis.column for axis in self.axes)], [list(row) for row in rows]


def compute_parallel(study: StudyRecords) -> ParallelData:
    """The networks of `study` in the order of their numbers, so that the front's and the seeds'
    come out as they are.
    """
    networks = sorted(study.points, key=lambda r: r.number)
    if not networks:
        return ParallelData(missing=dots.none_finished(study))
    groups = [2 if r.baseline else 1 if r.on_front else 0 for r in networks]
    axes = [_words("group", "group", [GROUPS[g] for g in groups], list(GROUPS))]
    axes += [_linear("PSNR, dB", "psnr_db", [r.psnr_db or 0.0 for r in networks])]
    axes += _figures(networks)
    genomes = [r.genome for r in networks if r.genome is not None]
    chosen = ""
    if len(genomes) == len(networks):
        importance = compute_importance(study)
        rows: list[dict[str, Value]]
        if importance.missing:
            rows, names = [summary(g) for g in genomes], list(summary(genomes[0]))
        else:
            rows, names = [flat(g) for g in genomes], list(importance.genes[:GENES])
            chosen = f" The genes are the {len(names)} that matter most, the most important first."
        axes += [_gene(name, rows) for name in names]
    caption = (
        f"{len(networks)} lines, one for each network, front and seeds in colour. Drag "
        f"along an axis to keep only the "
        f"networks that pass there; drag an axis' name to move it.{chosen}"
    )
    return ParallelData(
        numbers=tuple(r.number for r in networks),
        groups=tuple(groups),
        axes=tuple(axes),
        caption=caption,
    )


def draw_parallel(data: ParallelData) -> go.Figure:
    """The picture; the order of the lines is that of `data.numbers` (Plotly keeps no customdata
    here).
    """
    drawn = figure()
    thirds = [
        [0, GRAY],
        [1 / 3, GRAY],
        [1 / 3, BLUE],
        [2 / 3, BLUE],
        [2 / 3, VERMILLION],
        [1, VERMILLION],
    ]
    drawn.add_trace(
        go.Parcoords(
            line={
                "color": list(data.groups),
                "colorscale": thirds,
                "cmin": -0.5,
                "cmax": 2.5,
                "showscale": False,
            },
            dimensions=[
                {
                    "label": a.label,
                    "values": list(a.heights),
                    "tickvals": list(a.tick_heights),
                    "ticktext": list(a.tick_texts),
                }
                for a in data.axes
            ],
            labelangle=-20,
            labelside="top",
        )
    )
    drawn.update_layout(margin={"l": 70, "r": 50, "t": 90, "b": 20})
    return drawn


def _figures(networks: Sequence[Record]) -> list[Axis]:
    """Latency (or the ratio to MO), parameters and multiply-accumulates, as far as all networks
    have them.
    """
    axes = []
    if all(r.ratio_to_mo for r in networks):
        axes.append(
            _logarithmic(
                "times MO's latency",
                "ratio_to_mo",
                [r.ratio_to_mo or 1.0 for r in networks],
                octaves,
            )
        )
    else:
        axes.append(
            _logarithmic("latency, ms", "latency_ms", [r.latency_ms or 1.0 for r in networks])
        )
    if all(r.parameters for r in networks):
        axes.append(
            _logarithmic(
                "parameters, M", "parameters_m", [(r.parameters or 1) / 1e6 for r in networks]
            )
        )
    if all(r.macs for r in networks):
        axes.append(_logarithmic("GMAC", "gmac", [(r.macs or 1) / 1e9 for r in networks]))
    return axes


def _linear(label: str, column: str, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    decade = 10.0 ** math.floor(math.log10((high - low) or 1.0))
    step = next(
        decade * part
        for part in (1, 0.5, 0.2)
        if (high - low) / (decade * part) >= 3 or part == 0.2
    )
    marks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low]
    return Axis(
        label=label,
        column=column,
        values=tuple(values),
        heights=tuple(values),
        tick_heights=tuple(marks),
        tick_texts=tuple(f"{mark:g}" for mark in marks),
    )


def _plain(low: float, high: float) -> tuple[list[float], list[str]]:
    found = ticks(low, high) if high / low > 1.2 else [low]
    return found, [f"{mark:.3g}" for mark in found]


def _logarithmic(
    label: str,
    column: str,
    values: Sequence[float],
    marks: Callable[[float, float], tuple[list[float], list[str]]] = _plain,
) -> Axis:
    places, words = marks(min(values), max(values))
    return Axis(
        label=label,
        column=column,
        values=tuple(values),
        heights=tuple(map(math.log2, values)),
        tick_heights=tuple(map(math.log2, places)),
        tick_texts=tuple(words),
    )


def _words(label: str, column: str, values: Sequence[Value], order: Sequence[Value]) -> Axis:
    place = {value: float(index) for index, value in enumerate(order)}
    return Axis(
        label=label,
        column=column,
        values=tuple(values),
        heights=tuple(place[v] for v in values),
        tick_heights=tuple(place.values()),
        tick_texts=tuple(map(str, order)),
    )


def _gene(name: str, rows: Sequence[Mapping[str, Value]]) -> Axis:
    """A gene's choices at even distances; those networks on which it doesn't act lie below them."""
    values = [row.get(name, BELOW) for row in rows]
    order = [BELOW] * (BELOW in values) + [
        choice for choice in levels(rows, name) if choice != BELOW
    ]
    return _words(name, name, values, order)


PARALLEL = Plot("parallel", "Each network a line", compute_parallel, draw_parallel)
