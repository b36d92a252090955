"""How the front grew with the training spent: its hypervolume after each trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.points import none_finished
from dashboards.plots.style import BLUE, VERMILLION, add_line, empty_figure
from dashboards.study.records import Record, StudyRecords
from nas.study.pareto import Reference, front_rows, rows_hypervolume

# From how many seconds on a unit is used, its seconds, its name.
UNITS = ((2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """After the end of one trial (`record`): how many have ended, their training, the front."""

    record: Record
    trials: int
    train_seconds: float
    hypervolume: float
    grew: bool


@dataclass(frozen=True, kw_only=True)
class HypervolumeData(Data):
    """`steps` in the order in which trials ended; `baselines_alone`: MO's, M1's and M2's area."""

    steps: tuple[Growth, ...] = ()
    baselines_alone: float | None = None

    def table(self) -> Table:
        columns = ["trial", "name", "trials_ended", "train_seconds", "hypervolume_db_octaves"]
        return columns, [
            [s.record.number, s.record.name, s.trials, s.train_seconds, s.hypervolume]
            for s in self.steps
        ]


def compute_hypervolume(study: StudyRecords) -> HypervolumeData:
    """The growth of `study`'s front, trial by trial, with the latencies of the front's plot."""
    if not study.points:
        return HypervolumeData(missing=none_finished(study))
    if study.reference is None:
        return HypervolumeData(
            missing="The study has no reference point for the hypervolume: MO was not measured "
            "in it."
        )
    reference = Reference(psnr_db=study.reference[0], latency_ms=study.reference[1])
    ended = [
        (record.ended_at, record.number, record)
        for record in study.records
        if record.ended_at is not None and record.kind not in ("waiting", "running")
    ]
    limit_ms = study.latency_limit_ms
    steps, front, seconds, area = [], list[Record](), 0.0, 0.0
    for count, (_, _, record) in enumerate(sorted(ended, key=lambda one: one[:2]), 1):
        # A repeat took another trial's values: it trained nothing.
        seconds += 0.0 if record.repeat_of is not None else record.train_seconds or 0.0
        grown = rows_hypervolume([*front, record], reference, limit_ms) or 0.0
        if grown > area:
            front = front_rows([*front, record], limit_ms)
        steps.append(
            Growth(
                record=record,
                trials=count,
                train_seconds=seconds,
                hypervolume=grown,
                grew=grown > area,
            )
        )
        area = grown
    alone = rows_hypervolume(study.baselines, reference, limit_ms) or None
    caption = _caption(steps, alone, reference)
    return HypervolumeData(steps=tuple(steps), baselines_alone=alone, caption=caption)


def draw_hypervolume(data: HypervolumeData) -> go.Figure:
    """The plot: a step at each trial that made the front better."""
    figure = empty_figure()
    per, unit = _unit(data.steps[-1].train_seconds)

    def add(steps: Sequence[Growth], name: str, **style: Any) -> None:
        figure.add_scatter(
            x=[s.train_seconds / per for s in steps],
            y=[s.hypervolume for s in steps],
            name=name,
            hovertext=[
                f"<b>after {s.trials} trials</b><br>{s.hypervolume:.3f} dB × octaves<br>"
                f"{s.train_seconds / 60:.1f} min of training<br>"
                f"{s.record.name} (trial {s.record.number})"
                for s in steps
            ],
            hoverinfo="text",
            customdata=[s.record.number for s in steps],
            **style,
        )

    line = {"color": BLUE, "width": 2, "shape": "hv"}
    add(data.steps, "hypervolume", mode="lines", line=line)
    grew = [step for step in data.steps if step.grew and not step.record.baseline]
    add(grew, "the front grew", mode="markers", marker={"color": BLUE, "size": 7})
    baselines = [step for step in data.steps if step.record.baseline]
    if baselines:
        marker = {"color": VERMILLION, "size": 10, "symbol": "diamond"}
        add(baselines, ", ".join(s.record.name for s in baselines), mode="markers", marker=marker)
    if data.baselines_alone is not None:
        add_line(figure, y=data.baselines_alone, dash="dash", width=1)
        figure.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=data.baselines_alone,
            yanchor="bottom",
            text="the published networks alone",
        )
    figure.update_xaxes(title=f"training spent, {unit}", rangemode="tozero")
    return figure.update_yaxes(title="hypervolume, dB × octaves", rangemode="tozero")


def _unit(seconds: float) -> tuple[float, str]:
    return next((per, name) for least, per, name in UNITS if seconds >= least)


def _caption(steps: Sequence[Growth], alone: float | None, reference: Reference) -> str:
    last = steps[-1]
    per, unit = _unit(last.train_seconds)
    sentences = [
        f"{last.hypervolume:.2f} dB × octaves after {last.trials} trials and "
        f"{last.train_seconds / per:.1f} {unit} of training."
    ]
    if alone:
        sentences.append(f"The published networks alone reach {alone:.2f}.")
    grew = [step for step in steps if step.grew]
    if grew:
        since = last.trials - grew[-1].trials
        sentences.append(
            "The last trial still added to it."
            if since == 0
            else f"The last {since} trials added nothing."
            if since > 1
            else "The last trial added nothing."
        )
    sentences.append(
        f"It is the area between the front and {reference.psnr_db:.2f} dB at "
        f"{reference.latency_ms:.0f} ms, with latency in octaves: halving it counts the same "
        "everywhere."
    )
    return " ".join(sentences)


HYPERVOLUME = Plot(
    "hypervolume",
    "The front's hypervolume against training spent",
    compute_hypervolume,
    draw_hypervolume,
)
