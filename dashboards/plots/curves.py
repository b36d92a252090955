"""Learning curves: the PSNR of each network at its rungs, and the pruning decisions there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from dashboards.plots.plot import Data, Plot, Table
from dashboards.plots.points import none_finished
from dashboards.plots.style import BLUE, GRAY, VERMILLION, empty_figure
from dashboards.study.records import Record, Rung, StudyRecords

AXIS_STEPS = 8  # more rungs than this have no tick each
DASHES = ("solid", "dash", "dot")
COLOUR = {"baseline": VERMILLION, "front": BLUE, "other": GRAY}
COLUMNS = ["trial", "name", "kind", "step", "psnr_db", "ssim", "loss", "seconds", "decision"]
# One template and not a text for each point: there are thousands.
HOVER = "trial %{customdata}<br>step %{x:,}: %{y:.2f} dB"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One network's rungs, those with a PSNR; `group` is baseline, front or other."""

    record: Record
    group: str
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, kw_only=True)
class CurvesData(Data):
    """The curves in the order of the trials."""

    curves: tuple[Curve, ...] = ()

    def table(self) -> Table:
        rows = [(curve.record, rung) for curve in self.curves for rung in curve.rungs]
        return COLUMNS, [
            [one.number, one.name, one.kind, *(getattr(rung, key) for key in COLUMNS[3:])]
            for one, rung in rows
        ]


def compute_curves(study: StudyRecords) -> CurvesData:
    """The networks of `study` that were scored at rungs during training."""
    curves = []
    for record in study.records:
        rungs = tuple(rung for rung in record.rungs if rung.psnr_db is not None)
        if rungs and record.repeat_of is None:
            group = "baseline" if record.baseline else "front" if record.on_front else "other"
            curves.append(Curve(record=record, group=group, rungs=rungs))
    if curves:
        return CurvesData(curves=tuple(curves), caption=_caption(curves))
    if study.points:
        return CurvesData(
            missing="Networks were trained to the end and not scored on the way (no rungs): there "
            "are no curves to compare."
        )
    return CurvesData(missing=none_finished(study))


def draw_curves(data: CurvesData) -> go.Figure:
    """The searched thin and in one colour, the rest over them, and a symbol at each decision."""
    figure = empty_figure()
    groups = {name: [c for c in data.curves if c.group == name] for name in COLOUR}
    if groups["other"]:
        line = {"color": GRAY, "width": 1}
        figure.add_trace(_lines(groups["other"], "searched", line, opacity=0.45))
    if groups["front"]:
        line = {"color": BLUE, "width": 2}
        figure.add_trace(_lines(groups["front"], "Pareto front", line, opacity=1.0))
    for index, curve in enumerate(groups["baseline"]):
        line = {"color": VERMILLION, "width": 2, "dash": DASHES[index % len(DASHES)]}
        figure.add_trace(_lines([curve], curve.record.name, line, opacity=1.0))
    for decision, name, symbol in (
        ("stopped", "stopped here", "x"),
        ("exempt", "exempt from stopping", "diamond-open"),
    ):
        pairs = [(c, rung) for c in data.curves for rung in c.rungs if rung.decision == decision]
        if pairs:
            colours = [COLOUR[curve.group] for curve, _ in pairs]
            figure.add_scatter(
                x=[rung.step for _, rung in pairs],
                y=[rung.psnr_db for _, rung in pairs],
                customdata=[curve.record.number for curve, _ in pairs],
                mode="markers",
                name=name,
                marker={"symbol": symbol, "size": 8, "color": colours},
                hovertemplate=HOVER,
            )
    steps = sorted({rung.step for curve in data.curves for rung in curve.rungs})
    # Each rung is usually a few times the one before.
    scale = "log" if 0 < 4 * steps[0] < steps[-1] else "linear"
    figure.update_xaxes(title="training step", type=scale)
    if len(steps) <= AXIS_STEPS:
        figure.update_xaxes(tickvals=steps, ticktext=[f"{step:,}" for step in steps])
    return figure.update_yaxes(title="PSNR on the held-out pairs, dB")


def _lines(curves: Sequence[Curve], name: str, line: dict[str, Any], opacity: float) -> go.Scatter:
    """Curves as one trace with gaps between them: thousands of traces would be slow to draw."""
    return go.Scatter(
        x=[x for curve in curves for x in (*(rung.step for rung in curve.rungs), None)],
        y=[y for curve in curves for y in (*(rung.psnr_db for rung in curve.rungs), None)],
        customdata=[curve.record.number for curve in curves for _ in (*curve.rungs, None)],
        hovertemplate=HOVER,
        mode="lines+markers",
        name=name,
        line=line,
        opacity=opacity,
        marker={"size": 4},
        connectgaps=False,
    )


def _caption(curves: Sequence[Curve]) -> str:
    ends = [curve.rungs[-1] for curve in curves]
    stopped = Counter(rung.step for rung in ends if rung.decision == "stopped")
    exempt = sum(any(rung.decision == "exempt" for rung in curve.rungs) for curve in curves)
    count = stopped.total()
    sentence = (
        f"{len(curves)} networks at their rungs; {count or 'none'} "
        f"{'was' if count == 1 else 'were'} stopped early"
    )
    if exempt:
        sentence += f", {exempt} were exempt" if exempt > 1 else ", one was exempt"
    sentences = [f"{sentence}."]
    if stopped:
        counts = ", ".join(f"{step:,}: {stopped[step]}" for step in sorted(stopped))
        sentences.append(f"Stopped at step {counts}.")
    sentences.append(
        "A cross is where a network was stopped, an open diamond where it could have been but was "
        "exempt."
    )
    return " ".join(sentences)


CURVES = Plot(
    "curves", "Learning curves, with the decisions at the rungs", compute_curves, draw_curves
)
