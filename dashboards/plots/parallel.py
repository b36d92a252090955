"""Parallel coordinates: each network a line through its figures and the genes that matter most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.genes import OFF, Value, choices_of, flat, summary
from dashboards.plots.importance import compute_importance
from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.points import none_finished
from dashboards.plots.ratio import octave_ticks
from dashboards.plots.style import BLUE, GRAY, VERMILLION, empty_figure, log_ticks
from dashboards.study.records import Record, StudyRecords

GENES = 6
GROUPS = ("searched", "front", "baseline")


@dataclass(frozen=True)
class Axis:
    """One axis with its values, a network each."""

    label: str
    column: str  # its name in the table, with its unit
    values: tuple[Any, ...]
    heights: tuple[float, ...]  # where the values lie on it
    ticks: tuple[tuple[float, str], ...]  # height and text


@dataclass(frozen=True, kw_only=True)
class ParallelData(Data):
    """`numbers` are the trials in the order of the lines, `groups` the index in GROUPS of each."""

    numbers: tuple[int, ...] = ()
    groups: tuple[int, ...] = ()
    axes: tuple[Axis, ...] = ()

    def table(self) -> Table:
        rows = zip(self.numbers, *(axis.values for axis in self.axes), strict=True)
        return ["trial", *(axis.column for axis in self.axes)], [list(row) for row in rows]


def compute_parallel(study: StudyRecords) -> ParallelData:
    """The networks of `study` in the order of their numbers."""
    networks = sorted(study.points, key=lambda record: record.number)
    if not networks:
        return ParallelData(missing=none_finished(study))
    groups = [2 if record.baseline else 1 if record.on_front else 0 for record in networks]
    axes = [_categories("group", "group", [GROUPS[g] for g in groups], GROUPS)]
    axes += [_linear("PSNR, dB", "psnr_db", [record.psnr_db or 0.0 for record in networks])]
    axes += _cost_axes(networks)
    genomes = [record.genome for record in networks if record.genome is not None]
    which = ""
    if len(genomes) == len(networks):
        importance = compute_importance(study)
        rows = [(summary if importance.missing else flat)(genome) for genome in genomes]
        names = list(rows[0] if importance.missing else importance.genes[:GENES])
        if not importance.missing:
            which = f" The genes are the {len(names)} that matter most, the most important first."
        axes += [_gene(name, rows) for name in names]
    caption = (
        f"{len(networks)} lines, one for each network, front and baselines in colour. Drag along "
        "an axis to keep only the networks that pass there; drag an axis' name to move it."
    )
    return ParallelData(
        numbers=tuple(record.number for record in networks),
        groups=tuple(groups),
        axes=tuple(axes),
        caption=caption + which,
    )


def draw_parallel(data: ParallelData) -> go.Figure:
    """The plot, its lines in the order of `data.numbers` (Plotly keeps no customdata here)."""
    colours = [
        [(index + end) / 3, colour]
        for index, colour in enumerate((GRAY, BLUE, VERMILLION))
        for end in (0, 1)
    ]
    scale = {"colorscale": colours, "cmin": -0.5, "cmax": 2.5, "showscale": False}
    parcoords = go.Parcoords(
        line={"color": list(data.groups), **scale},
        dimensions=[
            {
                "label": axis.label,
                "values": list(axis.heights),
                "tickvals": [height for height, _ in axis.ticks],
                "ticktext": [text for _, text in axis.ticks],
            }
            for axis in data.axes
        ],
        labelangle=-20,
        labelside="top",
    )
    figure = empty_figure().add_trace(parcoords)
    return figure.update_layout(margin={"l": 70, "r": 50, "t": 90, "b": 20})


def _cost_axes(networks: Sequence[Record]) -> list[Axis]:
    """The ratio to MO (or the latency), parameters and GMAC, as far as all networks have them."""
    if all(record.ratio_to_mo for record in networks):
        ratios = [record.ratio_to_mo or 1.0 for record in networks]
        axes = [_logarithmic("times MO's latency", "ratio_to_mo", ratios, octave_ticks)]
    else:
        latencies = [record.latency_ms or 1.0 for record in networks]
        axes = [_logarithmic("latency, ms", "latency_ms", latencies)]
    for label, column, values in (
        ("parameters, M", "parameters_m", [(one.parameters or 0) / 1e6 for one in networks]),
        ("GMAC", "gmac", [(one.macs or 0) / 1e9 for one in networks]),
    ):
        if all(values):
            axes.append(_logarithmic(label, column, values))
    return axes


def _linear(label: str, column: str, values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    decade = 10.0 ** math.floor(math.log10((high - low) or 1.0))
    steps = [decade * part for part in (1, 0.5, 0.2)]
    step = next((one for one in steps if (high - low) / one >= 3), steps[-1])
    marks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)] or [low]
    ticks = tuple((mark, f"{mark:g}") for mark in marks)
    return Axis(label, column, tuple(values), tuple(values), ticks)


def _plain_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    ticks = log_ticks(low, high) if high / low > 1.2 else [low]
    return ticks, [f"{tick:.3g}" for tick in ticks]


def _logarithmic(
    label: str,
    column: str,
    values: Sequence[float],
    ticks_of: Callable[[float, float], tuple[list[float], list[str]]] = _plain_ticks,
) -> Axis:
    ticks, texts = ticks_of(min(values), max(values))
    labels = tuple(zip(map(math.log2, ticks), texts, strict=True))
    return Axis(label, column, tuple(values), tuple(map(math.log2, values)), labels)


def _categories(label: str, column: str, values: Sequence[Value], order: Sequence[Value]) -> Axis:
    height = {value: float(index) for index, value in enumerate(order)}
    ticks = tuple((height[value], str(value)) for value in order)
    return Axis(label, column, tuple(values), tuple(height[value] for value in values), ticks)


def _gene(name: str, rows: Sequence[Mapping[str, Value]]) -> Axis:
    """A gene's choices at even distances; those networks on which it doesn't act lie below."""
    values = [row.get(name, OFF) for row in rows]
    order = [OFF] * (OFF in values) + [c for c in choices_of(rows, name) if c != OFF]
    return _categories(name, name, values, order)


PARALLEL = Plot("parallel", "Each network a line", compute_parallel, draw_parallel)
