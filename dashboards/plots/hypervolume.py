"""How the front grew with the training that was spent: its hypervolume after each trial.

The hypervolume is the area that a front dominates from the study's fixed reference point (the PSNR
of amplifying alone, 8 times MO's latency), in dB times octaves of latency: the same definition as
the search's own (a test compares them).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from dataclasses import dataclass

import plotly.graph_objects as go

from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.points import none_finished
from dashboards.plots.style import BLUE, GRAY, VERMILLION, figure
from dashboards.study.records import Record, StudyRecords

UNITS = ((2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True, kw_only=True)
class Growth:
    """After the end of one trial: trials ended, seconds of training spent by all of them, and the
    front's hypervolume.
    """

    number: int
    name: str
    baseline: str | None
    trials: int
    train_seconds: float
    hypervolume: float
    grew: bool


@dataclass(frozen=True, kw_only=True)
class HypervolumeData(Data):
    """`steps` in the order in which the trials ended; `seeds_alone` what MO, M1 and M2 reach by
    themselves.
    """

    steps: tuple[Growth, ...] = ()
    seeds_alone: float | None = None

    def table(self) -> Table:
        columns = ["trial", "name", "trials_ended", "train_seconds", "hypervolume_db_octaves"]
        return columns, [
            [s.number, s.name, s.trials, s.train_seconds, s.hypervolume] for s in self.steps
        ]


def hypervolume(points: Iterable[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area, in dB x octaves, that (psnr_db, latency_ms) `points` dominate from such a `reference`;
    0 without any.
    """
    gains = [
        (psnr_db - reference[0], math.log2(reference[1] / latency_ms))
        for psnr_db, latency_ms in points
    ]
    area, top = 0.0, 0.0
    # From the fastest to the slowest, each point adds the strip by which it is higher than all
    # faster ones.
    for gain_db, octaves in sorted(gains, key=lambda gain: -gain[1]):
        if octaves > 0 and gain_db > top:
            area += (gain_db - top) * octaves
            top = gain_db
    return area


def compute_hypervolume(study: StudyRecords) -> HypervolumeData:
    """The growth of `study`'s front, trial by trial; latencies are those that the front is drawn
    with.
    """
    if not study.points:
        return HypervolumeData(missing=none_finished(study))
    if study.reference is None:
        return HypervolumeData(
            missing="The study has no reference point for the hypervolume: MO was not measured "
            "in it."
        )
    ended = sorted(
        (
            r
            for r in study.records
            if r.ended_at is not None and r.kind not in ("waiting", "running")
        ),
        key=lambda r: (r.ended_at or datetime.datetime.min, r.number),
    )
    steps, front, spent, area = [], list[tuple[float, float]](), 0.0, 0.0
    for count, record in enumerate(ended, 1):
        # A repeat was told another trial's values: it trained nothing.
        spent += 0.0 if record.repeat_of is not None else record.train_seconds or 0.0
        grown = hypervolume([*front, *_within(record, study)], study.reference)
        if grown > area:
            front = _undominated([*front, *_within(record, study)])
        steps.append(
            Growth(
                number=record.number,
                name=record.name,
                baseline=record.baseline,
                trials=count,
                train_seconds=spent,
                hypervolume=grown,
                grew=grown > area,
            )
        )
        area = grown
    baselines = [point for record in study.baselines for point in _within(record, study)]
    alone = hypervolume(baselines, study.reference) if baselines else None
    return HypervolumeData(
        steps=tuple(steps), seeds_alone=alone, caption=_caption(steps, alone, study)
    )


def draw_hypervolume(data: HypervolumeData) -> go.Figure:
    """The picture: a step at each trial that made the front better."""
    drawn = figure()
    per, unit = _unit(data.steps[-1].train_seconds)
    drawn.add_trace(
        _line(
            [*data.steps], per, "hypervolume", {"color": BLUE, "width": 2, "shape": "hv"}, "lines"
        )
    )
    grew = _line(
        [s for s in data.steps if s.grew and not s.baseline], per, "the front grew", {}, "markers"
    )
    grew.update(marker={"color": BLUE, "size": 7})
    drawn.add_trace(grew)
    baselines = [s for s in data.steps if s.baseline]
    named = _line(baselines, per, ", ".join(s.name for s in baselines), {}, "markers")
    named.update(marker={"color": VERMILLION, "size": 10, "symbol": "diamond"})
    if baselines:
        drawn.add_trace(named)
    if data.seeds_alone is not None:
        drawn.add_shape(
            type="line",
            x0=0,
            x1=1,
            xref="paper",
            y0=data.seeds_alone,
            y1=data.seeds_alone,
            line={"color": GRAY, "dash": "dash", "width": 1},
        )
        drawn.add_annotation(
            x=1,
            xref="paper",
            xanchor="right",
            y=data.seeds_alone,
            yanchor="bottom",
            text="the published networks alone",
        )
    drawn.update_xaxes(title=f"training spent, {unit}", rangemode="tozero")
    drawn.update_yaxes(title="hypervolume, dB × octaves", rangemode="tozero")
    return drawn


def _line(
    steps: list[Growth], per: float, name: str, line: dict[str, object], mode: str
) -> go.Scatter:
    said = [
        f"<b>after {s.trials} trials</b><br>{s.hypervolume:.3f} dB × "
        f"octaves<br>{s.train_seconds / 60:.1f} min of training"
        f"<br>{s.name} (trial {s.number})"
        for s in steps
    ]
    return go.Scatter(
        x=[s.train_seconds / per for s in steps],
        y=[s.hypervolume for s in steps],
        mode=mode,
        name=name,
        line=line,
        hovertext=said,
        hoverinfo="text",
        customdata=[s.number for s in steps],
    )


def _within(record: Record, study: StudyRecords) -> list[tuple[float, float]]:
    """The record's point where it counts: a network with both objectives, within the limit."""
    if not record.is_point or record.psnr_db is None or record.latency_ms is None:
        return []
    limit = study.latency_limit_ms
    return (
        [(record.psnr_db, record.latency_ms)]
        if limit is None or record.latency_ms <= limit
        else []
    )


def _undominated(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    best, front = -math.inf, []
    for point in sorted(points, key=lambda p: (p[1], -p[0])):
        if point[0] > best:
            best = point[0]
            front.append(point)
    return front


def _unit(seconds: float) -> tuple[float, str]:
    return next((per, name) for least, per, name in UNITS if seconds >= least)


def _caption(steps: list[Growth], alone: float | None, study: StudyRecords) -> str:
    last = steps[-1]
    per, unit = _unit(last.train_seconds)
    assert study.reference is not None  # or there is no hypervolume
    said = [
        f"{last.hypervolume:.2f} dB × octaves after {last.trials} trials and "
        f"{last.train_seconds / per:.1f} {unit} of training."
    ]
    if alone:
        said.append(f"The published networks alone reach {alone:.2f}.")
    grew = [s for s in steps if s.grew]
    if grew:
        since = last.trials - grew[-1].trials
        said.append(
            "The last trial still added to it."
            if since == 0
            else f"The last {since} trials added nothing."
            if since > 1
            else "The last trial added nothing."
        )
    said.append(
        f"It is the area between the front and {study.reference[0]:.2f} dB at "
        f"{study.reference[1]:.0f} ms, "
        "with latency in octaves: halving it counts the same everywhere."
    )
    return " ".join(said)


HYPERVOLUME = Plot(
    "hypervolume",
    "The front's hypervolume against training spent",
    compute_hypervolume,
    draw_hypervolume,
)
