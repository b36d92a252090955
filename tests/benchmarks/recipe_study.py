"""Trains networks by the recipe, for several lengths at once, and judges them on fresh scenes.

A rung is judged as a training of its length would end, so that one training of the longest length
gives all the others. Every judge is fresh: no setting was chosen by its scenes.

    python tests/benchmarks/recipe_study.py --networks MO M1 M2 --lengths 450 1500 4500 \
        --seeds 0 1 2 --json tests/benchmarks/results/recipe_study.json

Networks are MO, M1, M2, F1, F2, F3, or rN: the Nth random network of the space. `--set` changes
the recipe or the data, and `--name` names what was changed. What is in the file is not trained
again; several processes may share it, and one that was killed goes on from its last checkpoint.
On two CPU cores 450 steps of MO take half a minute, 4,500 of M2 half an hour.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from nas.samplers import random_genome
from space import BASELINES, DarkUNet, Genome, build_model
from space.presets import FOUND
from trials import (
    Checkpointer,
    DataConfig,
    Pair,
    TrainConfig,
    TrainLog,
    TrialData,
    load_data,
    load_pairs,
    score_images,
    train,
)
from trials.data.natural import natural_pairs
from trials.files import replacing

# Random networks are those of this seed; judges' scenes are those of that one.
NETWORKS_SEED, JUDGE_SEED = 7, 77_001
JUDGE_SCENES = 192


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", required=True)
    parser.add_argument("--lengths", nargs="+", type=int, default=[450])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--name", default="default", help="of what --set makes of the recipe")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument(
        "--judges", nargs="+", default=["synthetic", "natural"], choices=list(JUDGES)
    )
    parser.add_argument("--real", type=Path, help="a folder of real pairs, for the judge real")
    parser.add_argument("--judge-seed", type=int, default=JUDGE_SEED)
    parser.add_argument("--judge-scenes", type=int, default=JUDGE_SCENES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="a folder for weights and checkpoints")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep = args.keep or Path(tempfile.mkdtemp())
    data_config, recipe = changed(args.set)
    data = load_data(data_config, cache_dir=keep / "cache")
    judges = {name: JUDGES[name](args, data_config, keep / "cache") for name in args.judges}
    for seed in args.seeds:
        for network in args.networks:
            with claimed(args.json, keep, f"{args.name}-{network}-{seed}") as is_mine:
                missing = [
                    steps
                    for steps in sorted(args.lengths)
                    if (args.name, network, seed, steps) not in known(args.json)
                ]
                if is_mine and missing:
                    one_training(args, network, seed, missing, recipe, data, judges, keep)
    return 0


def one_training(
    args: argparse.Namespace,
    network: str,
    seed: int,
    lengths: Sequence[int],
    recipe: TrainConfig,
    data: TrialData,
    judges: dict[str, Sequence[Pair]],
    keep: Path,
) -> None:
    """Trains a network to the longest of `lengths`, and stores a row at each."""
    key = f"{args.name}-{network}-{seed}"
    torch.manual_seed(seed)
    model = build_model(genome_of(network))
    checkpointer = Checkpointer(folder=keep / "checkpoints" / key, every_s=60.0)
    started = time.perf_counter()

    def score(found: DarkUNet, log: TrainLog) -> bool:
        scores = {
            name: [round(one.psnr_db, 3) for one in score_images(found, pairs)]
            for name, pairs in judges.items()
        }
        row = {
            "name": args.name,
            "network": network,
            "seed": seed,
            "steps": log.steps,
            "loss": round(log.loss, 5),
            "diverged": False,
            "psnr_db": {name: round(sum(of) / len(of), 4) for name, of in scores.items()},
            "scenes": scores,
        }
        store(args.json, row)
        keep.mkdir(parents=True, exist_ok=True)
        torch.save(found.state_dict(), keep / f"{key}-{log.steps}.pt")
        means = ", ".join(f"{name} {value:.2f}" for name, value in row["psnr_db"].items())
        minutes = (time.perf_counter() - started) / 60
        print(f"{key}, {log.steps} steps: {means} dB, {minutes:.1f} min", flush=True)
        return True

    log = train(
        model,
        data,
        replace(recipe, steps=lengths[-1]),
        seed=seed,
        rungs=list(lengths),
        score=score,
        save=checkpointer.save,
        state=checkpointer.load({"key": key, "lengths": list(lengths)}),
    )
    if log.diverged:
        row = {"name": args.name, "network": network, "seed": seed, "steps": lengths[-1]}
        store(args.json, {**row, "diverged": True, "at": log.steps})
        print(f"{key}: diverged at {log.steps}", flush=True)
    checkpointer.discard()


def genome_of(name: str) -> Genome:
    """The network that a word of --networks means."""
    if name in BASELINES:
        return BASELINES[name]
    if name in FOUND:
        return FOUND[name].genome
    return random_genome(seed=NETWORKS_SEED, number=int(name.removeprefix("r")))


def changed(words: Sequence[str]) -> tuple[DataConfig, TrainConfig]:
    """The data and the recipe with the changes of --set, such as learning_rate=0.003."""
    data, recipe = DataConfig(held_out=1), TrainConfig()
    for word in words:
        key, _, text = word.partition("=")
        value: Any = text
        with suppress(ValueError):
            value = json.loads(text)
        if key in {field.name for field in fields(recipe)}:
            recipe = replace(recipe, **{key: value})
        else:
            data = replace(data, **{key: value})
    return data, recipe


def synthetic(args: argparse.Namespace, config: DataConfig, cache: Path) -> Sequence[Pair]:
    """Scenes of the kind that was trained on."""
    fresh = replace(config, seed=args.judge_seed, scenes=1, held_out=args.judge_scenes)
    return load_data(fresh, cache_dir=cache).held_out


def natural(args: argparse.Namespace, config: DataConfig, cache: Path) -> Sequence[Pair]:
    """Photos that no recipe has seen."""
    return natural_pairs(config)


def real(args: argparse.Namespace, config: DataConfig, cache: Path) -> Sequence[Pair]:
    """All pairs of --real."""
    if args.real is None:
        sys.exit("the judge real needs --real DIR")
    return load_pairs(args.real, "all", cache_dir=cache)


JUDGES = {"synthetic": synthetic, "natural": natural, "real": real}


def known(path: Path) -> set[tuple[str, str, int, int]]:
    """Which trainings the file holds."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return {(row["name"], row["network"], row["seed"], row["steps"]) for row in rows}


def store(path: Path, row: dict[str, Any]) -> None:
    """Adds a row to the file, one a line, also beside other processes."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        rows = json.loads(path.read_text())["rows"] if path.exists() else []
        rows.append(row)
        rows.sort(key=lambda one: (one["name"], one["network"], one["seed"], one["steps"]))
        lines = ",\n".join("  " + json.dumps(one) for one in rows)
        with replacing(path) as temporary:
            temporary.write_text(f'{{"rows": [\n{lines}\n]}}\n')
    finally:
        os.close(folder)


@contextmanager
def claimed(path: Path, keep: Path, key: str) -> Iterator[bool]:
    """Whether this process may train that network; False where another one is at it."""
    folder = keep / "claims"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{path.stem}-{key}").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


if __name__ == "__main__":
    sys.exit(main())
