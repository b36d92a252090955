"""`python -m dashboards.front --study dark --out front.html`: a study's Pareto front, PSNR against latency.

What is shown is read first (`records.read_records`), then drawn (`draw_front`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go

from dashboards.reading import DashboardError, Parser, default_url, open_study, run
from dashboards.records import Record, StudyRecords, read_records

FORMATS = ("html", "svg", "png")
EXAMPLE = "python -m dashboards.front --study dark --out front.html"
INK, GRAY, BLUE, ORANGE = "#1f2933", "#9aa5b1", "#2563eb", "#d9480f"


def draw_front(study: StudyRecords) -> go.Figure:
    """The picture: every network a dot, the front a line, the seeds named. DashboardError where there are none."""
    points, best, seeds = study.points, study.front, study.seeds
    if not points:
        raise DashboardError(f"study {study.study!r} must have finished trials, but has none; "
                             f"run python -m nas.search --study {study.study}")  # fmt: skip
    figure = go.Figure()
    others = [p for p in points if not p.on_front and not p.seed]
    figure.add_trace(_dots(others, "searched", go.scatter.Marker(color=GRAY, size=8)))
    line = _dots(best, "Pareto front", go.scatter.Marker(color=BLUE, size=10))
    line.update(mode="lines+markers", line={"color": BLUE, "width": 2, "shape": "hv"})
    figure.add_trace(line)
    named = _dots(seeds, "MO, M1, M2", go.scatter.Marker(color=ORANGE, size=12, symbol="diamond"))
    named.update(mode="markers+text", text=[p.name for p in seeds], textposition="bottom right",
                 textfont={"color": ORANGE, "size": 14})  # fmt: skip
    figure.add_trace(named)
    if study.latency_limit_ms is not None:
        _mark_limit(figure, study.latency_limit_ms)
    figure.update_layout(
        title=f"{study.study}: {len(points)} networks, {len(best)} on the front",
        template="plotly_white", width=900, height=560, font={"color": INK, "size": 14},
        legend={"x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"},
        margin={"l": 70, "r": 30, "t": 60, "b": 70},
    )  # fmt: skip
    shown = [p.latency_ms for p in points if p.latency_ms is not None]
    low, high = min(shown) / 1.2, max(shown) * 1.2
    figure.update_xaxes(
        title=f"latency, ms ({study.timed})", type="log", range=[math.log10(low), math.log10(high)],
        tickvals=_ticks(low, high), showline=True, linecolor=GRAY,
    )  # fmt: skip
    figure.update_yaxes(title="PSNR on the held-out pairs, dB", showline=True, linecolor=GRAY)
    return figure


def write(figure: go.Figure, path: Path) -> None:
    """Writes `figure` as the suffix of `path` says; DashboardError where the format or its tool is missing."""
    kind = path.suffix.lstrip(".")
    if kind not in FORMATS:
        raise DashboardError(f"--out must end in {', '.join('.' + name for name in FORMATS)}, but got {path}; rename it")
    if not path.parent.is_dir():
        raise DashboardError(f"--out needs a folder that exists, but there is no {path.parent}; make it first")
    try:
        if kind == "html":
            figure.update_layout(width=None, height=None, autosize=True)  # as large as the window
            figure.write_html(path, include_plotlyjs=True, default_height="95vh")
        else:
            figure.write_image(path, scale=2 if kind == "png" else 1)
    except OSError as error:
        raise DashboardError(f"{path} must be writable, but: {error.strerror}; choose another --out") from error
    except Exception as error:
        if kind == "html":
            raise
        why = (" ".join(str(error).split())[:160] or type(error).__name__).partition(". ")[0]
        raise DashboardError(f"{kind} pictures need kaleido and Chromium, but: {why}; run pip install '.[pictures]' and "
                             "install Chromium, or give --out front.html") from error  # fmt: skip


def main(argv: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    return run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    parser = Parser(prog="python -m dashboards.front", description=__doc__, example=EXAMPLE)
    parser.add_study()
    parser.add_argument("--out", type=Path, required=True, help="picture to write: .html, .svg or .png")
    args = parser.parse_args(argv)
    study = open_study(args.study, args.storage or default_url(args.study, args.runs))
    write(draw_front(read_records(study)), args.out)
    print(f"wrote {args.out}")
    return 0


def _dots(points: Sequence[Record], name: str, marker: go.scatter.Marker) -> go.Scatter:
    return go.Scatter(
        x=[p.latency_ms for p in points], y=[p.psnr_db for p in points], mode="markers", name=name, marker=marker,
        error_x={"type": "data", "symmetric": False, "array": [_above(p) for p in points],
                 "arrayminus": [_below(p) for p in points], "thickness": 1, "width": 2},
        hovertext=[_hover(p) for p in points], hoverinfo="text",
    )  # fmt: skip


def _above(point: Record) -> float:
    return 0.0 if point.latency_high_ms is None or point.latency_ms is None else point.latency_high_ms - point.latency_ms


def _below(point: Record) -> float:
    return 0.0 if point.latency_low_ms is None or point.latency_ms is None else point.latency_ms - point.latency_low_ms


def _mark_limit(figure: go.Figure, limit_ms: float) -> None:
    # Plotly takes a shape's x in milliseconds but an annotation's in powers of ten, so that add_vline can't do both.
    figure.add_shape(
        type="line", x0=limit_ms, x1=limit_ms, y0=0, y1=1, yref="paper", line={"color": GRAY, "dash": "dash"}
    )
    figure.add_annotation(x=math.log10(limit_ms), y=1, yref="paper", text="limit", showarrow=False, xanchor="left",
                          yanchor="top", font={"color": GRAY})  # fmt: skip


def _ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within the bounds; finer where that leaves fewer than three."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [float(f"{step * 10.0**k:g}") for k in decades for step in steps if low <= step * 10.0**k <= high]
        if len(ticks) >= 3:
            break
    return ticks


def _hover(point: Record) -> str:
    lines = [f"<b>{point.name}</b> (trial {point.number})", f"{point.psnr_db:.2f} dB", f"{point.latency_ms:.2f} ms"]
    if point.ratio_to_mo is not None:
        lines[-1] += f" ({point.ratio_to_mo:.2f} x MO)"
    if point.parameters is not None and point.macs is not None:
        lines.append(f"{point.parameters:,} parameters, {point.macs / 1e9:.2f} GMAC")
    return "<br>".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
