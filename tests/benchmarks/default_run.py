"""The baselines and the front of a finished default run, scored on real pairs too; the README's
set-up section quotes how long it took.

    python -m nas.search --study dark
    python tests/benchmarks/default_run.py runs/dark ../shared/sid-sample

Writes tests/benchmarks/results/default_run.json and prints a table; tests/test_readme.py compares
the README. Real pairs are only scored on: the networks were trained on synthetic data.
"""

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nas.cli.networks import load_network
from nas.study.pareto import front_rows
from nas.study.records import read_rows
from nas.study.storage import default_url, open_storage
from trials import evaluate, load_pairs

RESULT = Path(__file__).parent / "results" / "default_run.json"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="the study's folder")
    parser.add_argument(
        "real", help="folder of real pairs in SID's layout; all of its lists are judged"
    )
    options = parser.parse_args()
    import optuna

    study = optuna.load_study(
        study_name=options.study.name, storage=open_storage(default_url(options.study))
    )
    everything = [row for row in read_rows(study) if row.is_verdict]
    rows = [row for row in everything if row.kind == "complete"]
    front = {row.number for row in front_rows(rows)}
    pairs = load_pairs(options.real, "all", cache_dir=options.study / "cache")
    networks = []
    for row in rows:
        if row.baseline is None and row.number not in front:
            continue
        attrs = study.trials[row.number].user_attrs
        network = load_network(str(options.study / str(row.directory)), None)
        scores = [evaluate(network.model, [pair])[0] for pair in pairs]
        networks.append(
            {
                "name": row.name,
                "trial": row.number,
                "on_front": row.number in front,
                "psnr_db": row.psnr_db,
                "ssim": row.ssim,
                "real_psnr_db": sum(score.psnr_db for score in scores) / len(scores),
                "real_ssim": sum(score.ssim for score in scores) / len(scores),
                "latency_ms": row.latency_ms,
                "measured_ms": attrs["latency"]["median_ms"],
                "ratio_to_mo": row.ratio_to_mo,
                "ratio_to_mo_interval": row.ratio_interval,
                "macs": row.macs,
                "parameters": row.parameters,
                "train_seconds": attrs["train_seconds"],
                "latency": attrs["latency"],
            }
        )
    trials = [trial for trial in study.trials if trial.datetime_complete]
    minutes = (
        max(t.datetime_complete for t in trials) - min(t.datetime_start for t in trials)
    ).total_seconds() / 60
    result = {
        "command": "python -m nas.search --study dark",
        "trials": len(everything),
        "minutes": minutes,
        "stopped": sum(row.kind == "stopped" for row in everything),
        "machine": {"device": study.user_attrs["device"]["name"], "cores": os.cpu_count()},
        "steps": study.user_attrs["config"]["train"]["steps"],
        "real_pairs": len(pairs),
        "baseline_psnr_db": study.user_attrs["baseline_psnr_db"],
        "networks": networks,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))
    return 0


def table(result: dict) -> str:
    """A table of a stored result."""
    lines = [
        "| network | PSNR dB, held-out synthetic | PSNR dB, real photos | latency ms | "
        "times MO | GMAC | parameters M |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sorted(
        result["networks"], key=lambda one: (one["name"] not in ("MO", "M1", "M2"), one["trial"])
    ):
        low, high = one["ratio_to_mo_interval"]
        name = one["name"] if one["name"].startswith("M") else f"found, trial {one['trial']}"
        lines.append(
            f"| {name} | {one['psnr_db']:.2f} | {one['real_psnr_db']:.2f} | "
            f"{one['latency_ms']:.1f} | "
            f"{one['ratio_to_mo']:.2f} ({low:.2f} to {high:.2f}) | "
            f"{one['macs'] / 1e9:.2f} | {one['parameters'] / 1e6:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
