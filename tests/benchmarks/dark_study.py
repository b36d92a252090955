"""MO, M1, M2 and found networks, trained alike, and scored on pictures that chose none of them.

    python tests/benchmarks/dark_study.py train --networks MO F1 F2 --steps 1500 --seeds 0 1 2
        --out runs/long
    python -m nas.bench MO F1 F2 --json bench.json
    python tests/benchmarks/dark_study.py judge --out runs/long --bench bench.json --real SID
        --json FILE

and with real pairs in training too, gone on with from those:

    python tests/benchmarks/dark_study.py train --networks MO F1 F2 --steps 150 --seeds 0 1 2
        --data SID --start runs/long --start-steps 1500 --learning-rate 1e-4 --out runs/real
    python tests/benchmarks/dark_study.py judge --out runs/real --bench bench.json --real SID
        --split test --json FILE

Every training is `python -m nas.retrain` with the same recipe; it may be stopped and goes on. Two
sets score: synthetic scenes of another seed than all data that trained or searched, and real
pairs. A network's score on a picture is the mean over its seeds; differences from MO, M1 and M2
are paired, picture by picture, with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from dark_tables import networks_table

from nas.cli.networks import load_network
from space import BASELINES
from trials import DataConfig, Pair, load_data, load_pairs, score_images
from trials.scoring.bootstrap import paired_difference

# Of the scenes that judge: no study's, no training's.
JUDGING_SEED, JUDGING_SCENES = 20_211, 48
ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    train = verbs.add_parser("train", help="the long trainings")
    train.add_argument(
        "--networks", nargs="+", required=True, help="networks by name, or genomes' JSON files"
    )
    train.add_argument("--steps", nargs="+", type=int, required=True)
    train.add_argument("--seeds", nargs="+", type=int, default=[0])
    train.add_argument(
        "--scenes", type=int, default=576, help="built-in training scenes: three times a search's"
    )
    train.add_argument("--data", help="real pairs in SID's layout, whose training list trains")
    train.add_argument("--start", type=Path, help="--out of the trainings to go on from")
    train.add_argument("--start-steps", type=int, help="and how long those were")
    train.add_argument(
        "--learning-rate", type=float, default=5e-4, help="of trainings with --data"
    )
    train.add_argument(
        "--jobs", type=int, default=2, help="trainings side by side, one thread each"
    )
    judging = verbs.add_parser("judge", help="scores, intervals and the table")
    judging.add_argument("--real", type=Path, required=True, help="real pairs in SID's layout")
    judging.add_argument("--split", default="all", help="which of its lists judge")
    judging.add_argument(
        "--bench",
        type=Path,
        required=True,
        help="what nas.bench --json wrote of the same networks",
    )
    judging.add_argument("--json", type=Path, required=True)
    for verb in (train, judging):
        verb.add_argument("--out", type=Path, required=True, help="one folder for each training")
    args = parser.parse_args()
    if args.verb == "train":
        return train_all(args)
    found = judge(args.out, args.real, args.split, json.loads(args.bench.read_text()))
    args.json.write_text(json.dumps(found, indent=1) + "\n")
    print(networks_table(found))
    return 0


def train_all(args: argparse.Namespace) -> int:
    """Runs what is not finished yet, the short trainings first."""
    args.out.mkdir(parents=True, exist_ok=True)

    def run(job: tuple[int, int, str]) -> int:
        steps, seed, network = job
        folder = args.out / f"{Path(network).stem}-{steps}-{seed}"
        words = [
            "--genome",
            network,
            "--steps",
            steps,
            "--seed",
            seed,
            "--eval-steps",
            steps,
            "--precision",
            "bfloat16",
            "--threads",
            1,
            "--runs",
            args.out.resolve(),
        ]
        if args.data:
            begun = (
                args.start
                / f"{Path(network).stem}-{args.start_steps}-{seed}"
                / "weights.safetensors"
            ).resolve()
            words += [
                "--data",
                Path(args.data).resolve(),
                "--weights",
                begun,
                "--learning-rate",
                args.learning_rate,
            ]
        else:
            words += ["--scenes", args.scenes]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        with Path(f"{folder}.log").open("w") as log:
            return subprocess.run(
                [sys.executable, "-m", "nas.retrain", "--out", folder, *map(str, words)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode

    with ThreadPoolExecutor(args.jobs) as pool:
        codes = list(pool.map(run, itertools.product(args.steps, args.seeds, args.networks)))
    return max(codes)


def judge(out: Path, real: Path, split: str, bench: dict[str, Any]) -> dict[str, Any]:
    """Scores of all trainings in `out` on both sets, less those of MO, M1 and M2."""
    sets = {
        "synthetic": load_data(
            DataConfig(seed=JUDGING_SEED, scenes=1, held_out=JUDGING_SCENES), device="cpu"
        ).held_out,
        "real": load_pairs(str(real), split, cache_dir=out / "cache"),
    }
    scores: dict[tuple[str, int], dict[str, list[dict[str, list[float]]]]] = {}
    digests: dict[str, str] = {}
    settings: dict[str, Any] = {}
    seconds: dict[tuple[str, int], float] = {}
    for folder in sorted(path.parent for path in out.glob("*/result.json")):
        name, steps, _ = folder.name.rsplit("-", 2)
        ways = scores.setdefault((name, int(steps)), {key: [] for key in sets})
        model = load_network(str(folder), None).model
        digests[name] = model.genome.digest
        row = json.loads((folder / "result.json").read_text())
        settings = row["training"]["settings"]
        seconds[name, int(steps)] = seconds.get((name, int(steps)), 0.0) + row["train_seconds"]
        for key, pairs in sets.items():
            ways[key].append(of_pictures(model, pairs))
    networks = []
    for (name, steps), ways in sorted(scores.items(), key=lambda one: (one[0][1], one[0][0])):
        row = {
            "name": name,
            "steps": steps,
            "seeds": len(ways["real"]),
            "train_seconds": seconds[name, steps],
            **timed(bench, digests[name]),
        }
        for key in sets:
            mean = pooled(ways[key])
            against = {
                seed: pooled(scores[seed, steps][key])
                for seed in BASELINES
                if (seed, steps) in scores
            }
            row[key] = {
                "psnr_db": average(mean["psnr_db"]),
                "ssim": average(mean["ssim"]),
                "pictures": len(mean["psnr_db"]),
                "psnr_db_by_seed": [average(run["psnr_db"]) for run in ways[key]],
                "minus": {
                    seed: {
                        metric: paired_difference(mean[metric], theirs[metric]).to_dict()
                        for metric in mean
                    }
                    for seed, theirs in against.items()
                    if seed != name
                },
            }
        networks.append(row)
    device = bench["networks"][0]["latency"]["device_name"]
    recipe = {
        key: value
        for key, value in settings.items()
        if key.startswith(("train.", "data.")) and "digest" not in key
    }
    recipe["data.source"] = Path(recipe["data.source"]).name
    return {
        "judging": {"seed": JUDGING_SEED, "scenes": JUDGING_SCENES, "real": split},
        "machine": {"device": device, "cores": os.cpu_count(), "torch": str(torch.__version__)},
        "recipe": recipe,
        "networks": networks,
    }


def of_pictures(model: Any, pairs: list[Pair]) -> dict[str, list[float]]:
    """One network's scores, picture by picture."""
    scores = score_images(model, pairs)
    return {
        "psnr_db": [score.psnr_db for score in scores],
        "ssim": [score.ssim for score in scores],
    }


def pooled(runs: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Each picture's mean over the seeds."""
    return {
        metric: [
            average(list(values)) for values in zip(*(run[metric] for run in runs), strict=True)
        ]
        for metric in runs[0]
    }


def average(values: list[float]) -> float:
    return sum(values) / len(values)


def timed(bench: dict[str, Any], digest: str) -> dict[str, Any]:
    """A network's ratio to MO with its interval, work and memory, by nas.bench."""
    one = next(one for one in bench["networks"] if one["digest"] == digest)
    ratio = one["ratio_to_mo"] or {"value": 1.0, "low": 1.0, "high": 1.0}  # MO is the unit
    return {
        "digest": digest,
        "ratio_to_mo": {key: ratio[key] for key in ("value", "low", "high")},
        "latency_ms": one["latency"]["median_ms"],
        "peak_memory_mib": one["latency"]["peak_memory_mib"],
        "macs": one["cost"]["macs"],
        "parameters": one["cost"]["parameters"],
        "genome": one["genome"],
    }


if __name__ == "__main__":
    sys.exit(main())
