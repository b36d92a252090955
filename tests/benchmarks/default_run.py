"""The README's first set-up command, as a new user runs it: how long it takes, and what it finds, judged on real pairs too.

    python tests/benchmarks/default_run.py DIR ../shared/sid-sample

Clones this repository into DIR and runs the command there, which takes a quarter of an hour; what is in DIR already is not run
again. Writes tests/benchmarks/results/default_run.json, from which the README's set-up section quotes, and prints a table.
Real pairs are only judged on: the networks were trained on synthetic data.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from nas.front import front_rows
from nas.models import load_network
from nas.results import read_rows
from nas.storage import default_url, open_storage
from trials import evaluate, load_pairs

ROOT = Path(__file__).resolve().parents[2]
RESULT = Path(__file__).parent / "results" / "default_run.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the clone goes, or is")
    parser.add_argument("real", help="folder of real pairs in SID's layout; all of its lists are judged")
    options = parser.parse_args()
    import optuna

    options.study = options.folder / "runs" / "dark"
    if not options.folder.exists():
        run_as_new(options.folder)
    study = optuna.load_study(study_name=options.study.name, storage=open_storage(default_url(options.study)))
    everything = [row for row in read_rows(study) if row.is_verdict]
    rows = [row for row in everything if row.kind == "complete"]
    front = {row.number for row in front_rows(rows)}
    pairs = load_pairs(options.real, "all", cache_dir=options.study / "cache")
    networks = []
    for row in rows:
        if row.seed is None and row.number not in front:
            continue
        attrs = study.trials[row.number].user_attrs
        network = load_network(str(options.study / str(row.directory)), None)
        scores = [evaluate(network.model, [pair])[0] for pair in pairs]
        networks.append({
            "name": row.name, "trial": row.number, "on_front": row.number in front, "psnr_db": row.psnr_db, "ssim": row.ssim,
            "real_psnr_db": sum(score.psnr_db for score in scores) / len(scores),
            "real_ssim": sum(score.ssim for score in scores) / len(scores),
            "latency_ms": row.latency_ms, "measured_ms": attrs["latency"]["median_ms"], "ratio_to_mo": row.ratio_to_mo,
            "ratio_to_mo_interval": row.ratio_interval, "macs": row.macs, "parameters": row.parameters,
            "train_seconds": attrs["train_seconds"], "latency": attrs["latency"],
        })  # fmt: skip
    trials = [trial for trial in study.trials if trial.datetime_complete]
    minutes = (max(t.datetime_complete for t in trials) - min(t.datetime_start for t in trials)).total_seconds() / 60
    result = {
        "command": "python -m nas.search --study dark", "trials": len(everything), "minutes": minutes,
        "stopped": sum(row.kind == "stopped" for row in everything),
        "machine": {"device": study.user_attrs["device"]["name"], "cores": os.cpu_count()},
        "steps": study.user_attrs["config"]["train"]["steps"], "real_pairs": len(pairs),
        "set_up": set_up_figures(options.folder, [trial.datetime_complete.timestamp() for trial in trials]),
        "baseline_psnr_db": study.user_attrs["baseline_psnr_db"], "networks": networks,
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(table(result))
    return 0


def run_as_new(folder: Path) -> None:
    """The first set-up command of the README in a fresh clone; when it began and ended is kept beside it."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    section = (folder / "README.md").read_text(encoding="utf-8").split("## Set up", 1)[1].split("\n## ", 1)[0]
    command = re.findall(r"```bash\n(.*?)```", section, re.S)[0].strip()
    began = time.time()
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, check=True)
    (folder / "set_up.json").write_text(json.dumps({"began": began, "ended": time.time()}))


def set_up_figures(folder: Path, finished: list[float]) -> dict:
    """Minutes from the command's start to its first network and to its end, and the disk that it took."""
    told = json.loads((folder / "set_up.json").read_text())
    used = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return {"first_network_minutes": (min(finished) - told["began"]) / 60, "minutes": (told["ended"] - told["began"]) / 60,
            "disk_gb": used / 1e9}  # fmt: skip


def table(result: dict) -> str:
    """A table of a stored result."""
    lines = ["| network | PSNR dB, held-out synthetic | PSNR dB, real photos | latency ms | times MO | GMAC | parameters M |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for one in sorted(result["networks"], key=lambda one: (one["name"] not in ("MO", "M1", "M2"), one["trial"])):
        low, high = one["ratio_to_mo_interval"]
        name = one["name"] if one["name"].startswith("M") else f"found, trial {one['trial']}"
        lines.append(
            f"| {name} | {one['psnr_db']:.2f} | {one['real_psnr_db']:.2f} | {one['latency_ms']:.1f} | "
            f"{one['ratio_to_mo']:.2f} ({low:.2f} to {high:.2f}) | {one['macs'] / 1e9:.2f} | {one['parameters'] / 1e6:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
