"""A study's search as stored figures, its Pareto picture, which genes matter, winners' names.

    python -m nas.search --study dark --steps 900 --stopping off --workers 2 --runs DIR
    python tests/benchmarks/dark_search.py store DIR/dark --command "..." --json FILE
    python tests/benchmarks/dark_search.py draw FILE --out dashboards/pictures/dark_search.svg
    python tests/benchmarks/dark_search.py name FILE --trials 41 77 --names F1 F2

`store` reads the study and writes all its networks with their genomes; the other two read that
file only. `name` writes space/found.json: the genomes that the commands know by name.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import torch

from dashboards.plots.effects import compute_effects
from dashboards.plots.importance import compute_importance
from dashboards.study.reader import open_study
from dashboards.study.records import read_records
from nas.study.pareto import REFERENCE_RATIO, Reference, front_rows, hypervolume, pareto_front
from nas.study.records import read_rows
from nas.study.storage import default_url
from space import BASELINES, Genome

FOUND = Path(__file__).resolve().parents[2] / "space" / "found.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    store = verbs.add_parser("store", help="the study's figures")
    store.add_argument("study", type=Path, help="the study's folder")
    store.add_argument("--command", required=True, help="with which it was run")
    store.add_argument("--json", type=Path, required=True)
    drawing = verbs.add_parser("draw", help="the Pareto picture")
    drawing.add_argument("json", type=Path)
    drawing.add_argument("--out", type=Path, required=True)
    naming = verbs.add_parser("name", help="names for some of its networks")
    naming.add_argument("json", type=Path)
    naming.add_argument("--trials", nargs="+", type=int, required=True)
    naming.add_argument("--names", nargs="+", required=True)
    args = parser.parse_args()
    if args.verb == "store":
        search = stored(args.study, args.command)
        args.json.write_text(one_line_each(search) + "\n")
        print(
            f"{search['finished']} networks in {search['minutes']:.0f} min, "
            f"{search['train_seconds']:.0f} s of them training"
        )
        for one in search["front"]:
            print(f"trial {one['trial']}: {one['psnr_db']:.2f} dB, {one['ratio_to_mo']:.2f} x MO")
        return 0
    search = json.loads(args.json.read_text())
    if args.verb == "draw":
        draw(search).write_image(args.out)
    else:
        FOUND.write_text(
            json.dumps(
                named(search, dict(zip(args.names, args.trials, strict=True))),
                indent=1,
                sort_keys=True,
            )
            + "\n"
        )
    return 0


def stored(folder: Path, command: str) -> dict[str, Any]:
    """All that the README, the pictures and the names need of a study."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(study_name=folder.name, storage=default_url(folder))
    trials = study.get_trials(deepcopy=False)
    rows = [row for row in read_rows(study) if row.is_verdict]
    front = {row.number for row in front_rows(rows)}
    complete = [row for row in rows if row.kind == "complete"]
    reference = Reference(psnr_db=study.user_attrs["baseline_psnr_db"], latency_ms=REFERENCE_RATIO)
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    networks = [
        {
            "trial": row.number,
            "kind": row.kind,
            "seed": row.baseline,
            "psnr_db": row.psnr_db,
            "ssim": row.ssim,
            "ratio_to_mo": row.ratio_to_mo,
            "macs": row.macs,
            "parameters": row.parameters,
            "on_front": row.number in front,
            "queued": bool(trials[row.number].user_attrs.get("queued")),
            "minute": (trials[row.number].datetime_complete - begun).total_seconds() / 60,  # type: ignore[operator]
            "genome": json.loads(trials[row.number].user_attrs["genome"]),
        }
        for row in rows
    ]
    config = study.user_attrs["config"]
    return {
        "command": command,
        "seed": config["seed"],
        "steps": config["train"]["steps"],
        "held_out": config["data"]["held_out"],
        "machine": {
            "device": study.user_attrs["device"]["name"],
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "date": f"{ended:%Y-%m-%d}",
        "minutes": (ended - begun).total_seconds() / 60,
        "train_seconds": sum(
            trials[row.number].user_attrs.get("train_seconds", 0.0) for row in rows
        ),
        "finished": len(rows),
        "complete": len(complete),
        "stopped": sum(row.kind == "stopped" for row in rows),
        "over_limit": sum(row.kind == "over_limit" for row in rows),
        "baseline_psnr_db": reference.psnr_db,
        "hypervolume": hypervolume(
            [(row.psnr_db or 0.0, row.ratio_to_mo or math.inf) for row in complete], reference
        ),
        "dominates_mo": dominating(networks),
        **genes_of(folder),
        "front": [
            {key: one[key] for key in ("trial", "psnr_db", "ratio_to_mo")}
            for one in networks
            if one["on_front"]
        ],
        "networks": networks,
    }


def dominating(networks: list[dict[str, Any]]) -> dict[str, Any]:
    """How many of the networks are better and faster than MO was in the same search, and when the
    first of them was there.
    """
    mo = next(one for one in networks if one["seed"] == "MO")
    found = [
        one
        for one in networks
        if one["kind"] == "complete"
        and one["psnr_db"] > mo["psnr_db"]
        and one["ratio_to_mo"] < mo["ratio_to_mo"]
    ]
    first = min(found, key=lambda one: one["minute"], default=None)
    keys = ("trial", "psnr_db", "ratio_to_mo", "minute")
    return {
        "mo_psnr_db": mo["psnr_db"],
        "networks": len(found),
        "first": first and {key: first[key] for key in keys},
    }


def genes_of(folder: Path) -> dict[str, Any]:
    """Which genes matter for what, and what their choices go with, as the report shows it."""
    records = read_records(open_study(folder.name, default_url(folder)))
    importance, effects = compute_importance(records), compute_effects(records)
    genes: dict[str, Any] = {
        "importance": {"missing": importance.missing, "caption": importance.caption}
    }
    if importance.missing is None:
        columns, rows = importance.table()
        genes["importance"] |= {
            "columns": columns,
            "rows": rows,
            "psnr_r2": importance.psnr and importance.psnr.r2,
            "latency_r2": importance.latency and importance.latency.r2,
        }
        columns, rows = effects.table()
        genes["effects"] = {"columns": columns, "rows": rows}
    return genes


def one_line_each(search: dict[str, Any]) -> str:
    """JSON with a line for each network, so that a change of one shows as one."""
    head = json.dumps({key: value for key, value in search.items() if key != "networks"}, indent=1)
    lines = ",\n".join("  " + json.dumps(one) for one in search["networks"])
    return f'{head[:-2]},\n "networks": [\n{lines}\n ]\n}}'


def named(search: dict[str, Any], trials: dict[str, int]) -> dict[str, Any]:
    """What space/found.json holds: of each name the genome, and the study that found it."""
    by_trial = {one["trial"]: one for one in search["networks"]}
    study = {
        "command": search["command"],
        "seed": search["seed"],
        "trials": search["finished"],
        "steps": search["steps"],
        "device": f"{search['machine']['cores']} cores of {search['machine']['device']}",
        "date": search["date"],
    }
    return {
        name: {
            "genome": Genome.from_dict(by_trial[trial]["genome"]).to_dict(),
            "study": {
                **study,
                "trial": trial,
                **{key: by_trial[trial][key] for key in ("psnr_db", "ratio_to_mo", "queued")},
            },
        }
        for name, trial in trials.items()
    }


def draw(search: dict[str, Any]) -> go.Figure:
    """All networks, the front through them, MO, M1 and M2 as stars, and the named ones by name."""
    names = {digest_of(one["genome"]): name for name, one in json.loads(FOUND.read_text()).items()}
    shown = [one for one in search["networks"] if one["kind"] == "complete"]
    points = [(one["psnr_db"], one["ratio_to_mo"]) for one in shown]
    front = sorted(
        (shown[index] for index in pareto_front(points)), key=lambda one: one["ratio_to_mo"]
    )
    figure = go.Figure()
    figure.add_scatter(
        x=[x for _, x in points],
        y=[y for y, _ in points],
        mode="markers",
        name=f"{len(shown)} networks",
        marker={"color": "#8a97a6", "size": 6, "opacity": 0.6},
    )
    figure.add_scatter(
        x=[one["ratio_to_mo"] for one in front],
        y=[one["psnr_db"] for one in front],
        name="front",
        mode="lines+markers",
        line={"shape": "hv", "color": "#0072B2", "width": 2.2},
        marker={"size": 7},
    )
    winners = [
        (one, names[digest_of(one["genome"])])
        for one in shown
        if digest_of(one["genome"]) in names
    ]
    winners.sort(key=lambda one: one[0]["ratio_to_mo"])
    # The slowest has its name on its right, where no front runs, since its neighbour may be close.
    places = [*["top left"] * (len(winners) - 1), "top right"]
    baselines = [(one, one["seed"]) for one in shown if one["seed"] in BASELINES]
    for those, name, place, marker in (
        (winners, "named", places, {"color": "#D55E00", "size": 12, "symbol": "diamond"}),
        (baselines, "published", "top center", {"symbol": "star", "size": 14, "color": "#000"}),
    ):
        figure.add_scatter(
            x=[one["ratio_to_mo"] for one, _ in those],
            y=[one["psnr_db"] for one, _ in those],
            mode="markers+text",
            name=name,
            text=[f"<b>{label}</b>" for _, label in those],
            textposition=place,
            marker=marker,
        )
    best = max(y for y, _ in points)
    figure.update_layout(
        template="plotly_white",
        width=1000,
        height=500,
        font={"size": 14},
        margin={"l": 70, "r": 20, "t": 30, "b": 60},
        legend={"x": 0.99, "xanchor": "right", "y": 0.02, "yanchor": "bottom"},
    )
    figure.update_xaxes(
        title="latency, times MO", type="log", tickvals=[0.1, 0.2, 0.3, 0.5, 1, 2, 4]
    )
    figure.update_yaxes(
        title=f"PSNR, dB ({search['held_out']} held-out synthetic scenes, "
        f"{search['steps']} steps)",
        range=[best - 3.2, best + 0.25],
    )
    return figure


def digest_of(genome: dict[str, Any]) -> str:
    return Genome.from_dict(genome).digest


if __name__ == "__main__":
    sys.exit(main())
