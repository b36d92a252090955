"""Learning curves: the PSNR of each network at its rungs, and what was decided there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.points import none_finished
from dashboards.plots.style import BLUE, GRAY, VERMILLION, figure
from dashboards.study.records import Rung, StudyRecords

AXIS_STEPS = 8  # more rungs than this have no tick each
DASHES = ("solid", "dash", "dot")
# One template and not a text for each point: there are thousands.
HOVER = "trial %{customdata}<br>step %{x:,}: %{y:.2f} dB"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One network's rungs, those with a PSNR; `group` is seed, front or other."""

    number: int
    name: str
    kind: str
    group: str
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, kw_only=True)
class CurvesData(Data):
    """The curves in the order of the trials."""

    curves: tuple[Curve, ...] = ()

    def table(self) -> Table:
        columns = [
            "trial",
            "name",
            "kind",
            "step",
            "psnr_db",
            "ssim",
            "loss",
            "seconds",
            "decision",
        ]
        return columns, [
            [c.number, c.name, c.kind, r.step, r.psnr_db, r.ssim, r.loss, r.seconds, r.decision]
            for c in self.curves
            for r in c.rungs
        ]


def compute_curves(study: StudyRecords) -> CurvesData:
    """The networks of `study` that were judged at rungs on their way."""
    curves = []
    for record in study.records:
        rungs = tuple(r for r in record.rungs if r.psnr_db is not None)
        if rungs and record.repeat_of is None:
            group = "baseline" if record.baseline else "front" if record.on_front else "other"
            curves.append(
                Curve(
                    number=record.number,
                    name=record.name,
                    kind=record.kind,
                    group=group,
                    rungs=rungs,
                )
            )
    if not curves:
        finished = (
            "Networks were trained to the end and not judged on the way (no rungs): "
            "there are no curves to compare."
        )
        return CurvesData(missing=finished if study.points else none_finished(study))
    return CurvesData(curves=tuple(curves), caption=_caption(curves))


def draw_curves(data: CurvesData) -> go.Figure:
    """The picture: the searched thin and in one colour, the front and the seeds over them, a sign
    at what was decided.
    """
    drawn = figure()
    others = [c for c in data.curves if c.group == "other"]
    front = [c for c in data.curves if c.group == "front"]
    baselines = [c for c in data.curves if c.group == "baseline"]
    if others:
        drawn.add_trace(_lines(others, "searched", {"color": GRAY, "width": 1}, opacity=0.45))
    if front:
        drawn.add_trace(_lines(front, "Pareto front", {"color": BLUE, "width": 2}, opacity=1.0))
    for index, curve in enumerate(baselines):
        line = {"color": VERMILLION, "width": 2, "dash": DASHES[index % len(DASHES)]}
        drawn.add_trace(_lines([curve], curve.name, line, opacity=1.0))
    _mark(drawn, data.curves, "stopped here", "x", lambda rung: rung.decision == "stopped")
    _mark(
        drawn,
        data.curves,
        "exempt from stopping",
        "diamond-open",
        lambda rung: rung.decision == "exempt",
    )
    steps = sorted({r.step for c in data.curves for r in c.rungs})
    # Rungs are usually each a few times the one before.
    drawn.update_xaxes(
        title="training step", type="log" if 0 < 4 * steps[0] < steps[-1] else "linear"
    )
    if len(steps) <= AXIS_STEPS:
        drawn.update_xaxes(tickvals=steps, ticktext=[f"{step:,}" for step in steps])
    drawn.update_yaxes(title="PSNR on the held-out pairs, dB")
    return drawn


def _lines(curves: Sequence[Curve], name: str, line: dict[str, Any], opacity: float) -> go.Scatter:
    """Curves as one trace with gaps between them: thousands of traces would be slow to draw."""
    x: list[float | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    for curve in curves:
        x += [*(r.step for r in curve.rungs), None]
        y += [*(r.psnr_db for r in curve.rungs), None]
        numbers += [curve.number] * (len(curve.rungs) + 1)
    return go.Scatter(
        x=x,
        y=y,
        customdata=numbers,
        hovertemplate=HOVER,
        mode="lines+markers",
        name=name,
        line=line,
        opacity=opacity,
        marker={"size": 4},
        connectgaps=False,
    )


def _mark(
    drawn: go.Figure,
    curves: Sequence[Curve],
    name: str,
    symbol: str,
    chosen: Callable[[Rung], bool],
) -> None:
    at = [(curve, rung) for curve in curves for rung in curve.rungs if chosen(rung)]
    if at:
        drawn.add_trace(
            go.Scatter(
                x=[r.step for _, r in at],
                y=[r.psnr_db for _, r in at],
                customdata=[c.number for c, _ in at],
                mode="markers",
                name=name,
                marker={"symbol": symbol, "size": 8, "color": [_colour(c) for c, _ in at]},
                hovertemplate=HOVER,
            )
        )


def _colour(curve: Curve) -> str:
    return {"baseline": VERMILLION, "front": BLUE}.get(curve.group, GRAY)


def _caption(curves: Sequence[Curve]) -> str:
    stopped = [c for c in curves if c.rungs[-1].decision == "stopped"]
    exempt = sum(any(r.decision == "exempt" for r in c.rungs) for c in curves)
    said = [
        (
            f"{len(curves)} networks at their rungs; {len(stopped) or 'none'} "
            f"{'was' if len(stopped) == 1 else 'were'} stopped early"
        )
        + (f", {exempt} were exempt." if exempt > 1 else ", one was exempt." if exempt else ".")
    ]
    if stopped:
        steps: dict[int, int] = {}
        for curve in stopped:
            steps[curve.rungs[-1].step] = steps.get(curve.rungs[-1].step, 0) + 1
        said.append(
            "Stopped at step "
            + ", ".join(f"{step:,}: {count}" for step, count in sorted(steps.items()))
            + "."
        )
    said.append(
        "A cross is where a network was stopped, an open diamond where it would have been "
        "judged but was exempt."
    )
    return " ".join(said)


CURVES = Plot(
    "curves", "Learning curves, with what was decided at the rungs", compute_curves, draw_curves
)
