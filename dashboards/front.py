"""`python -m dashboards.front --study dark --out front.html`: a study's Pareto front, PSNR against latency.

What is shown is computed first (`read_front`), then drawn (`draw_front`). The names of the attributes are those
of the contract at the top of nas/study.py.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import optuna
import plotly.graph_objects as go
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import make_url

FORMATS = ("html", "svg", "png")
EXAMPLE = "python -m dashboards.front --study dark --out front.html"
INK, GRAY, BLUE, ORANGE = "#1f2933", "#9aa5b1", "#2563eb", "#d9480f"


class FrontError(Exception):
    """A front that can't be read or drawn; the message is one line and says what to do."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One network: PSNR in dB on the held-out pairs, latency in ms with its 95 % interval."""

    number: int
    name: str
    psnr_db: float
    latency_ms: float
    low_ms: float
    high_ms: float
    ratio_to_mo: float | None
    parameters: int | None
    macs: int | None
    is_seed: bool
    on_front: bool


@dataclass(frozen=True, kw_only=True)
class Front:
    """All that the picture shows: `points` from fast to slow, and what was timed where."""

    study: str
    points: tuple[Point, ...]
    latency_limit_ms: float | None
    timed: str


def read_front(study: optuna.Study) -> Front:
    """The finished networks of `study`, repeats left out; FrontError where there are none."""
    attrs = study.user_attrs
    limit = attrs.get("config", {}).get("latency_limit_ms")
    trials = [t for t in study.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    trials = [t for t in trials if t.user_attrs.get("kind") == "complete" and "repeat_of" not in t.user_attrs]
    if not trials:
        raise FrontError(f"study {study.study_name!r} must have finished trials, but has none; "
                         f"run python -m nas.search --study {study.study_name}")  # fmt: skip
    mo_ms = next((t.user_attrs["latency"]["median_ms"] for t in trials if t.user_attrs.get("seed") == "MO"), None)
    # From fast to slow, and the better of equally fast ones first: each is on the front that beats all before it.
    again: dict[str, Any] = attrs.get("front_latency", {})
    ratios = {trial.number: _ratio(trial, again) for trial in trials}

    def latency_ms_of(trial: FrozenTrial) -> float:
        # Ratio to MO times MO's milliseconds, which no drift of the machine touches; as told where one is unknown.
        ratio = ratios[trial.number]
        return float(trial.values[1] if ratio is None or mo_ms is None else ratio[0] * mo_ms)

    trials.sort(key=lambda t: (latency_ms_of(t), -t.values[0], t.number))
    points, best = [], float("-inf")
    for trial in trials:
        psnr_db, latency_ms = trial.values[0], latency_ms_of(trial)
        allowed = limit is None or latency_ms <= limit
        on_front = allowed and psnr_db > best
        if on_front:
            best = psnr_db
        points.append(_point(trial, latency_ms, ratios[trial.number], on_front))
    return Front(study=study.study_name, points=tuple(points), latency_limit_ms=limit, timed=_timed(trials[0]))


def draw_front(front: Front) -> go.Figure:
    """The picture: every network a dot, the front a line, the seeds named."""
    figure = go.Figure()
    others = [p for p in front.points if not p.on_front and not p.is_seed]
    best = [p for p in front.points if p.on_front]
    seeds = [p for p in front.points if p.is_seed]
    figure.add_trace(_dots(others, "searched", go.scatter.Marker(color=GRAY, size=8)))
    line = _dots(best, "Pareto front", go.scatter.Marker(color=BLUE, size=10))
    line.update(mode="lines+markers", line={"color": BLUE, "width": 2, "shape": "hv"})
    figure.add_trace(line)
    named = _dots(seeds, "MO, M1, M2", go.scatter.Marker(color=ORANGE, size=12, symbol="diamond"))
    named.update(mode="markers+text", text=[p.name for p in seeds], textposition="bottom right",
                 textfont={"color": ORANGE, "size": 14})  # fmt: skip
    figure.add_trace(named)
    if front.latency_limit_ms is not None:
        _mark_limit(figure, front.latency_limit_ms)
    figure.update_layout(
        title=f"{front.study}: {len(front.points)} networks, {len(best)} on the front",
        template="plotly_white", width=900, height=560, font={"color": INK, "size": 14},
        legend={"x": 0.99, "y": 0.02, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"},
        margin={"l": 70, "r": 30, "t": 60, "b": 70},
    )  # fmt: skip
    shown = [p.latency_ms for p in front.points]
    low, high = min(shown) / 1.2, max(shown) * 1.2
    figure.update_xaxes(
        title=f"latency, ms ({front.timed})", type="log", range=[math.log10(low), math.log10(high)],
        tickvals=_ticks(low, high), showline=True, linecolor=GRAY,
    )  # fmt: skip
    figure.update_yaxes(title="PSNR on the held-out pairs, dB", showline=True, linecolor=GRAY)
    return figure


def write(figure: go.Figure, path: Path) -> None:
    """Writes `figure` as the suffix of `path` says; FrontError where the format or its tool is missing."""
    kind = path.suffix.lstrip(".")
    if kind not in FORMATS:
        raise FrontError(f"--out must end in {', '.join('.' + name for name in FORMATS)}, but got {path}; rename it")
    if not path.parent.is_dir():
        raise FrontError(f"--out needs a folder that exists, but there is no {path.parent}; make it first")
    try:
        if kind == "html":
            figure.update_layout(width=None, height=None, autosize=True)  # as large as the window
            figure.write_html(path, include_plotlyjs=True, default_height="95vh")
        else:
            figure.write_image(path, scale=2 if kind == "png" else 1)
    except OSError as error:
        raise FrontError(f"{path} must be writable, but: {error.strerror}; choose another --out") from error
    except Exception as error:
        if kind == "html":
            raise
        why = _first_line(error).partition(". ")[0]
        raise FrontError(f"{kind} pictures need kaleido and Chromium, but: {why}; run pip install '.[pictures]' and "
                         "install Chromium, or give --out front.html") from error  # fmt: skip


def open_study(name: str, url: str) -> optuna.Study:
    """The stored study; FrontError where it can't be read. A password in `url` is never shown."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise FrontError("--storage must be an SQLAlchemy URL such as sqlite:///runs/dark/study.db") from error
    shown = parsed.render_as_string(hide_password=True)
    is_file = parsed.get_backend_name() == "sqlite" and "uri" not in parsed.query
    if is_file and not (parsed.database and Path(parsed.database).is_file()):
        # Optuna would make an empty database where there is none.
        raise FrontError(f"there is no study at {shown}; run python -m nas.search first, or give its --storage")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        return optuna.load_study(study_name=name, storage=url)
    except KeyError as error:
        there = ", ".join(optuna.get_all_study_names(url)) or "none"
        raise FrontError(f"there is no study {name!r} in {shown}; there are: {there}") from error
    except Exception as error:
        raise FrontError(f"storage {shown} can't be read: {_first_line(error)}; check the URL") from error


def main(argv: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    parser = _Parser(prog="python -m dashboards.front", description=__doc__, epilog=f"example: {EXAMPLE}",
                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--study", required=True, help="the study's name")
    parser.add_argument("--storage", help="its SQLAlchemy URL (default: sqlite:///runs/STUDY/study.db)")
    parser.add_argument("--out", type=Path, required=True, help="picture to write: .html, .svg or .png")
    try:
        args = parser.parse_args(argv)
        study = open_study(args.study, args.storage or f"sqlite:///runs/{args.study}/study.db")
        write(draw_front(read_front(study)), args.out)
    except FrontError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {args.out}")
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise FrontError(f"{message}; see {self.prog} --help")


def _ratio(trial: FrozenTrial, again: dict[str, Any]) -> tuple[float, float, float] | None:
    """The ratio to MO with its interval: the front's last measurement where the network was in it, else the trial's."""
    attrs = trial.user_attrs
    if attrs.get("seed") != "MO" and (found := again.get(attrs["digest"])) is not None:
        return found["ratio_to_mo"]["value"], found["ratio_to_mo"]["low"], found["ratio_to_mo"]["high"]
    ratio = attrs.get("ratio_to_mo")
    if ratio is None:
        return None
    low, high = attrs.get("ratio_to_mo_interval") or (ratio, ratio)
    return ratio, low, high


def _point(
    trial: FrozenTrial, latency_ms: float, ratio: tuple[float, float, float] | None, on_front: bool
) -> Point:
    attrs = trial.user_attrs
    cost = attrs.get("cost") or {}
    psnr_db = trial.values[0]
    value, low, high = ratio or (1.0, 1.0, 1.0)
    return Point(
        number=trial.number, name=attrs.get("seed") or attrs["digest"][:8], psnr_db=psnr_db, latency_ms=latency_ms,
        low_ms=latency_ms * low / value, high_ms=latency_ms * high / value,
        ratio_to_mo=None if ratio is None else value, parameters=cost.get("parameters"), macs=cost.get("macs"),
        is_seed="seed" in attrs, on_front=on_front,
    )  # fmt: skip


def _timed(trial: FrozenTrial) -> str:
    latency: dict[str, Any] = trial.user_attrs.get("latency") or {}
    shape = f"{latency.get('height')} x {latency.get('width')} mosaic"
    threads = ""
    if latency.get("device") == "cpu" and "threads" in latency:
        threads = f", {latency['threads']} thread{'s' * (latency['threads'] > 1)}"
    return f"{shape}, {latency.get('device_name', latency.get('device'))}{threads}"


def _dots(points: Sequence[Point], name: str, marker: go.scatter.Marker) -> go.Scatter:
    return go.Scatter(
        x=[p.latency_ms for p in points], y=[p.psnr_db for p in points], mode="markers", name=name, marker=marker,
        error_x={"type": "data", "symmetric": False, "array": [p.high_ms - p.latency_ms for p in points],
                 "arrayminus": [p.latency_ms - p.low_ms for p in points], "thickness": 1, "width": 2},
        hovertext=[_hover(p) for p in points], hoverinfo="text",
    )  # fmt: skip


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


def _hover(point: Point) -> str:
    lines = [f"<b>{point.name}</b> (trial {point.number})", f"{point.psnr_db:.2f} dB", f"{point.latency_ms:.2f} ms"]
    if point.ratio_to_mo is not None:
        lines[-1] += f" ({point.ratio_to_mo:.2f} x MO)"
    if point.parameters is not None and point.macs is not None:
        lines.append(f"{point.parameters:,} parameters, {point.macs / 1e9:.2f} GMAC")
    return "<br>".join(lines)


def _first_line(error: BaseException) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())[:160] or type(error).__name__


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
