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
from nas.study.records import Row, read_rows
from nas.study.storage import default_url
from trials.latency.measure import device_name

WAYS = {"on": ("with stopping", "#D55E00", "circle"), "off": ("without", "#0072B2", "square")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60, help="of each search")
    parser.add_argument(
        "--runs",
        type=Path,
        required=True,
        help="where both studies lie, in the folders on and off",
    )
    parser.add_argument(
        "--json",
        type=Path,
        required=True,
        help="figures; a file that is there is drawn, nothing is run",
    )
    parser.add_argument("--out", type=Path, help="the picture, .svg or .png")
    args = parser.parse_args()
    if not args.json.exists():
        run_both(args.runs, args.minutes)
        args.json.write_text(json.dumps(judge(args.runs, args.minutes), indent=1) + "\n")
    told = json.loads(args.json.read_text())
    for way, found in told["searches"].items():
        print(
            f"{WAYS[way][0]}: {found['networks']} networks in {found['minutes']:.0f} min, "
            f"{found['stopped']} of them stopped, "
            f"{len(found['front'])} on the front; hypervolume {found['hypervolume']:.2f}, "
            f"{found['best_db']:.2f} dB"
        )
    if args.out:
        draw(told).write_image(args.out)
        print(f"wrote {args.out}")
    return 0


def run_both(runs: Path, minutes: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    started = []
    for way, mine in (("on", cores[:half]), ("off", cores[-half:])):
        if (runs / way / "dark" / "study.db").exists():
            continue
        (runs / way).mkdir(parents=True)
        words = [
            "--study",
            "dark",
            "--runs",
            runs / way,
            "--stopping",
            way,
            "--trials",
            2000,
            "--timeout-min",
            minutes,
        ]
        environment = {
            **os.environ,
            "DARK_NAS_LOCKS": str(runs / way / "locks"),
            "OMP_NUM_THREADS": str(half),
        }
        with (runs / f"{way}.log").open("w") as log:
            started.append(
                subprocess.Popen(
                    [
                        "taskset",
                        "-c",
                        ",".join(map(str, mine)),
                        sys.executable,
                        "-m",
                        "nas.search",
                        *map(str, words),
                    ],
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    if any(one.wait() for one in started):
        sys.exit(f"a search failed: see {runs}/*.log")


def judge(runs: Path, minutes: float) -> dict[str, Any]:
    """Both searches' figures; each front's latencies are those that its search measured at its
    end, in one run.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies = {
        way: optuna.load_study(study_name="dark", storage=default_url(runs / way / "dark"))
        for way in WAYS
    }
    fronts = {way: front_rows(read_rows(study)) for way, study in studies.items()}
    told = {way: search_of(study, fronts[way]) for way, study in studies.items()}
    return {
        "minutes": minutes,
        "machine": {
            "device": device_name("cpu"),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "searches": told,
    }


def search_of(study: optuna.Study, front: list[Row]) -> dict[str, Any]:
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
        if row.kind == "complete":
            assert row.psnr_db and row.ratio_to_mo
            points.append((row.psnr_db, row.ratio_to_mo))
            ended = trials[row.number].datetime_complete
            assert ended
            grown.append([(ended - begun).total_seconds() / 60, hypervolume(points, reference)])
    told = [trial.user_attrs for trial in trials]
    whole = [
        attrs["rungs"] for attrs in told if attrs.get("kind") == "complete" and attrs.get("rungs")
    ]
    line = [
        {
            "psnr_db": row.psnr_db,
            "ratio_to_mo": row.ratio_to_mo,
            "trial": row.number,
            "name": row.name,
            "genome": json.loads(told[row.number]["genome"]),
        }
        for row in front
    ]
    kept = pareto_front([(one["psnr_db"], one["ratio_to_mo"]) for one in line])  # type: ignore[misc]
    last = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    return {
        "networks": len(rows),
        "stopped": sum(row.kind == "stopped" for row in rows),
        "minutes": (last - begun).total_seconds() / 60,
        "train_seconds": sum(
            trials[row.number].user_attrs.get("train_seconds", 0.0) for row in rows
        ),
        "front": [line[index] for index in kept],
        "best_db": max(psnr for psnr, _ in points),
        "hypervolume": hypervolume(
            [(line[index]["psnr_db"], line[index]["ratio_to_mo"]) for index in kept], reference
        ),  # type: ignore[misc]
        "grown": grown,
        "complete": points,
        "tau": tau_of_rungs(whole),
        "seeds": {row.baseline: [row.psnr_db, row.ratio_to_mo] for row in rows if row.baseline},
    }


def tau_of_rungs(ways: list[list[dict[str, Any]]]) -> dict[str, Any]:
    """Kendall's tau of the PSNR at each rung with the final one, over all networks that were
    trained to the end, and over the half of them that ended best: how well a rung orders what lies
    near the front.
    """
    most = max(len(way) for way in ways)
    psnr = np.array([[rung["psnr_db"] for rung in way] for way in ways if len(way) == most])
    best = psnr[psnr[:, -1] >= np.median(psnr[:, -1])]

    def taus(rows: Any) -> list[float]:
        return [float(kendalltau(rows[:, k], rows[:, -1]).statistic) for k in range(most - 1)]

    steps = next([rung["step"] for rung in way] for way in ways if len(way) == most)
    return {
        "steps": steps[:-1],
        "networks": len(psnr),
        "all": taus(psnr),
        "best_half": taus(best),
        "best_half_from_db": float(best[:, -1].min()),
    }


def draw(told: dict[str, Any]) -> go.Figure:
    """Left the fronts, right how the hypervolume grew."""
    figure = make_subplots(1, 2, column_widths=[0.58, 0.42], horizontal_spacing=0.09)
    for way, found in told["searches"].items():
        name, colour, symbol = WAYS[way]
        x, y = (
            [one["ratio_to_mo"] for one in found["front"]],
            [one["psnr_db"] for one in found["front"]],
        )
        others = [(psnr, ratio) for psnr, ratio in found["complete"]]
        figure.add_scatter(
            x=[ratio for _, ratio in others],
            y=[psnr for psnr, _ in others],
            mode="markers",
            showlegend=False,
            marker={"color": colour, "symbol": symbol, "size": 5, "opacity": 0.25},
            row=1,
            col=1,
        )
        label = f"{name}: {found['networks']} networks in {found['minutes']:.0f} min"
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines+markers",
            name=label,
            line={"shape": "hv", "color": colour, "width": 2.2},
            marker={"symbol": symbol, "size": 9},
            row=1,
            col=1,
        )
        figure.add_scatter(
            x=[at for at, _ in found["grown"]],
            y=[area for _, area in found["grown"]],
            mode="lines",
            showlegend=False,
            line={"shape": "hv", "color": colour, "width": 2.2},
            row=1,
            col=2,
        )
    seeds = told["searches"]["on"]["seeds"]
    figure.add_scatter(
        x=[ratio for _, ratio in seeds.values()],
        y=[psnr for psnr, _ in seeds.values()],
        mode="markers+text",
        text=list(seeds),
        textposition="bottom center",
        showlegend=False,
        marker={"symbol": "star", "size": 12, "color": "#000"},
        row=1,
        col=1,
    )
    figure.update_layout(
        template="plotly_white",
        width=1080,
        height=480,
        font={"size": 14},
        margin={"l": 70, "r": 20, "t": 60, "b": 60},
        legend={"orientation": "h", "x": 0, "y": 1.14},
    )
    figure.update_xaxes(
        title="latency, times MO", type="log", tickvals=[0.1, 0.2, 0.3, 0.5, 1, 2, 4], row=1, col=1
    )
    best = max(found["best_db"] for found in told["searches"].values())
    figure.update_yaxes(title="PSNR, dB (held-out)", range=[best - 3.2, best + 0.25], row=1, col=1)
    figure.update_xaxes(title="minutes", row=1, col=2)
    areas = [area for found in told["searches"].values() for _, area in found["grown"]]
    figure.update_yaxes(
        title="hypervolume, dB x octaves",
        range=[max(areas) * 0.8, max(areas) * 1.01],
        row=1,
        col=2,
    )
    return figure


if __name__ == "__main__":
    sys.exit(main())
