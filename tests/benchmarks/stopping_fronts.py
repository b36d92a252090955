"""A search with stopping and one without, side by side for the same time: both fronts, and how
they grew, in one picture.

    python tests/benchmarks/stopping_fronts.py --minutes 60 --runs DIR --json FILE --out
    dashboards/pictures/stopping.svg

Each search has half of the cores for itself (pinned, with as many threads), the same seed and
recipe, and locks of its own, so that neither waits for the other's measurements; whatever disturbs
the machine hits both. A finished search in DIR is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from scipy.stats import kendalltau

from nas.study.pareto import REFERENCE_RATIO, Reference, front_rows, hypervolume, pareto_front
from nas.study.records import read_rows
from nas.study.storage import default_url
from trials.latency.measure import device_name

WAYS = {"on": ("with stopping", "#D55E00", "circle"), "off": ("without", "#0072B2", "square")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="of each search")
    runs = "where both studies lie, in the folders on and off"
    parser.add_argument("--runs", type=Path, required=True, help=runs)
    figures = "figures; where the file is there it is drawn, and nothing is run"
    parser.add_argument("--json", type=Path, required=True, help=figures)
    parser.add_argument("--out", type=Path, help="the picture, .svg or .png")
    args = parser.parse_args()
    if not args.json.exists():
        run_both(args.runs, args.minutes)
        args.json.write_text(json.dumps(figures_of(args.runs, args.minutes), indent=1) + "\n")
    figures = json.loads(args.json.read_text())
    for way, found in figures["searches"].items():
        print(
            f"{WAYS[way][0]}: {found['networks']} networks in {found['minutes']:.0f} min, "
            f"{found['stopped']} of them stopped, {len(found['front'])} on the front; "
            f"hypervolume {found['hypervolume']:.2f}, {found['best_db']:.2f} dB"
        )
    if args.out:
        draw(figures).write_image(args.out)
        print(f"wrote {args.out}")
    return 0


def run_both(runs: Path, minutes: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    started = []
    for way, mine in (("on", cores[:half]), ("off", cores[-half:])):
        folder = runs / way
        if (folder / "dark" / "study.db").exists():
            continue
        folder.mkdir(parents=True)
        search = ["taskset", "-c", ",".join(map(str, mine)), sys.executable, "-m", "nas.search"]
        search += ["--study", "dark", "--runs", str(folder), "--stopping", way]
        search += ["--trials", "2000", "--timeout-min", str(minutes)]
        own = {"DARK_NAS_LOCKS": str(folder / "locks"), "OMP_NUM_THREADS": str(half)}
        with (runs / f"{way}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    search, env={**os.environ, **own}, stdout=log, stderr=subprocess.STDOUT
                )
            )
    if any(one.wait() for one in started):
        sys.exit(f"a search failed: see {runs}/*.log")


def figures_of(runs: Path, minutes: float) -> dict[str, Any]:
    """Both searches' figures; each front's latencies are its search's final ones, of one run."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    machine = {"device": device_name("cpu"), "cores": os.cpu_count()}
    machine |= {"python": platform.python_version(), "torch": str(torch.__version__)}
    searches = {
        way: search_of(
            optuna.load_study(study_name="dark", storage=default_url(runs / way / "dark"))
        )
        for way in WAYS
    }
    return {"minutes": minutes, "machine": machine, "searches": searches}


def search_of(study: optuna.Study) -> dict[str, Any]:
    """One search's figures: what it finished, its front, and its hypervolume as it grew."""
    trials = study.get_trials(deepcopy=False)
    rows = [
        row for row in read_rows(study) if row.is_verdict and row.kind in ("complete", "stopped")
    ]
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    reference = Reference(psnr_db=study.user_attrs["baseline_psnr_db"], latency_ms=REFERENCE_RATIO)
    points: list[tuple[float, float]] = []
    grown = []
    for row in sorted(rows, key=lambda row: trials[row.number].datetime_complete or begun):
        ended = trials[row.number].datetime_complete
        if row.kind == "complete":
            assert row.psnr_db and row.ratio_to_mo and ended
            points.append((row.psnr_db, row.ratio_to_mo))
            grown.append([(ended - begun).total_seconds() / 60, hypervolume(points, reference)])
    attrs = [trial.user_attrs for trial in trials]
    curves = [one["rungs"] for one in attrs if one.get("kind") == "complete" and one.get("rungs")]
    front = [
        {
            "psnr_db": row.psnr_db,
            "ratio_to_mo": row.ratio_to_mo,
            "trial": row.number,
            "name": row.name,
            "genome": json.loads(attrs[row.number]["genome"]),
        }
        for row in front_rows(rows)
    ]
    front = [
        front[k] for k in pareto_front([(one["psnr_db"], one["ratio_to_mo"]) for one in front])
    ]
    last = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    area = hypervolume([(one["psnr_db"], one["ratio_to_mo"]) for one in front], reference)
    return {
        "networks": len(rows),
        "stopped": sum(row.kind == "stopped" for row in rows),
        "minutes": (last - begun).total_seconds() / 60,
        "train_seconds": sum(attrs[row.number].get("train_seconds", 0.0) for row in rows),
        "front": front,
        "best_db": max(psnr for psnr, _ in points),
        "hypervolume": area,
        "grown": grown,
        "complete": points,
        "tau": tau_of_rungs(curves),
        "seeds": {row.baseline: [row.psnr_db, row.ratio_to_mo] for row in rows if row.baseline},
    }


def tau_of_rungs(curves: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Kendall's tau of the PSNR at each rung with the final one, over all networks that were
    trained to the end, and over the half of them that ended best: how well a rung orders what lies
    near the front.
    """
    most = max(map(len, curves))
    curves = [curve for curve in curves if len(curve) == most]
    psnr = np.array([[rung["psnr_db"] for rung in curve] for curve in curves])
    best = psnr[psnr[:, -1] >= np.median(psnr[:, -1])]

    def taus(rows: Any) -> list[float]:
        return [float(kendalltau(rows[:, k], rows[:, -1]).statistic) for k in range(most - 1)]

    return {
        "steps": [rung["step"] for rung in curves[0]][:-1],
        "networks": len(psnr),
        "all": taus(psnr),
        "best_half": taus(best),
        "best_half_from_db": float(best[:, -1].min()),
    }


def draw(figures: dict[str, Any]) -> go.Figure:
    """Left the fronts, right how the hypervolume grew."""
    figure = make_subplots(1, 2, column_widths=[0.58, 0.42], horizontal_spacing=0.09)
    left, right = {"row": 1, "col": 1}, {"row": 1, "col": 2}
    searches = figures["searches"]
    for way, found in searches.items():
        name, colour, symbol = WAYS[way]
        line = {"shape": "hv", "color": colour, "width": 2.2}
        figure.add_scatter(
            x=[ratio for _, ratio in found["complete"]],
            y=[psnr for psnr, _ in found["complete"]],
            mode="markers",
            showlegend=False,
            marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.25},
            **left,
        )
        figure.add_scatter(
            x=[one["ratio_to_mo"] for one in found["front"]],
            y=[one["psnr_db"] for one in found["front"]],
            mode="lines+markers",
            name=f"{name}: {found['networks']} networks in {found['minutes']:.0f} min",
            line=line,
            marker={"symbol": symbol, "size": 9},
            **left,
        )
        x, y = zip(*found["grown"], strict=True)
        figure.add_scatter(x=x, y=y, mode="lines", showlegend=False, line=line, **right)
    baselines = searches["on"]["seeds"]
    figure.add_scatter(
        x=[ratio for _, ratio in baselines.values()],
        y=[psnr for psnr, _ in baselines.values()],
        mode="markers+text",
        text=list(baselines),
        textposition="bottom center",
        showlegend=False,
        marker={"symbol": "star", "size": 12, "color": "#000"},
        **left,
    )
    figure.update_layout(
        template="plotly_white",
        width=1080,
        height=480,
        font={"size": 14},
        margin={"l": 70, "r": 20, "t": 60, "b": 60},
        legend={"orientation": "h", "x": 0, "y": 1.14},
    )
    ticks = [0.1, 0.2, 0.3, 0.5, 1, 2, 4]
    figure.update_xaxes(title="latency, times MO", type="log", tickvals=ticks, **left)
    best = max(found["best_db"] for found in searches.values())
    figure.update_yaxes(title="PSNR, dB (held-out)", range=[best - 3.2, best + 0.25], **left)
    figure.update_xaxes(title="minutes", **right)
    top = max(area for found in searches.values() for _, area in found["grown"])
    area = {"title": "hypervolume, dB x octaves", "range": [top * 0.8, top * 1.01]}
    figure.update_yaxes(**area, **right)
    return figure


if __name__ == "__main__":
    sys.exit(main())
