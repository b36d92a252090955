"""Trains a table of networks through all rungs, with their latencies: what the search benchmark
replays.

    python tests/benchmarks/search/make_table.py --random 100 --mutants 60 --out table.jsonl python
    tests/benchmarks/search/make_table.py --out table.jsonl --pack
    tests/benchmarks/search/table.json.gz

MO, M1 and M2, then random genomes of the space, then mutants of the front found so far (searchers
spend most of their time near the front, so the table has to know it). It can be stopped at any
time; the same command goes on (--start: from a packed table, on another machine). The first line
of the file holds machine and recipe; a table that was begun with others is refused.
"""

from __future__ import annotations

import argparse
import gzip
import json
import platform
import random
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from nas.study.pareto import pareto_front
from space import BASELINES, DesignSpace, Genome, build_model, count_cost
from trials import DataConfig, TrainLog, load_data, measure_against, score_images, train
from trials.config import LatencyConfig, TrainConfig
from trials.device.precision import settled_dtype

FRAME = 512
# More rungs than a search has, so that any plan of rungs can be replayed.
RUNGS = (6, 10, 17, 29, 50, 87, 150, 260)
MUTATED_GENES = 4


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    out = "the table, one network a line; continued where it is there"
    parser.add_argument("--out", type=Path, required=True, help=out)
    parser.add_argument("--random", type=int, default=100, help="random genomes")
    parser.add_argument("--mutants", type=int, default=60, help="mutants of the front")
    twice = "trains the first so many once more, from another seed"
    parser.add_argument("--again", type=int, default=0, help=twice)
    pack_to = "writes the table there, compressed, and does nothing else"
    parser.add_argument("--pack", type=Path, help=pack_to)
    start = "a packed table to begin with, where --out isn't there yet"
    parser.add_argument("--start", type=Path, help=start)
    args = parser.parse_args()
    if args.start and not args.out.exists():
        table = json.loads(gzip.decompress(args.start.read_bytes()))
        rows = table.pop("networks")
        args.out.write_text("".join(json.dumps(row) + "\n" for row in (table, *rows)))
    if args.pack:
        return pack(args.out, args.pack)
    data = load_data(DataConfig())
    config = TrainConfig(dtype=settled_dtype("auto", torch.device("cpu")))
    begun = begin(
        args.out,
        {"recipe": asdict(config), "rungs": [*RUNGS, config.steps], "data": data.description},
    )
    space, total = DesignSpace(), len(BASELINES) + args.random + args.mutants
    started, made = time.monotonic(), 0
    while len(begun) < total:
        genome, origin = propose(space, begun, args.random)
        row = {"origin": origin, **run(genome, data, config, seed=0)}
        append(args.out, row)
        begun.append(row)
        made += 1
        left_min = (time.monotonic() - started) / made * (total - len(begun)) / 60
        print(
            f"{len(begun)} of {total} {origin} {row['digest'][:8]} "
            f"{row['macs'] / 1e9:.2f} GMAC {row['ratio_to_mo']:.2f} x MO "
            f"{[round(rung['psnr_db'], 2) for rung in row['rungs']]} dB, "
            f"{row['seconds']:.0f} s; {left_min:.0f} min left",
            flush=True,
        )
    for row in again(begun, args.again):
        genome = Genome.from_dict(row["genome"])
        append(
            args.out,
            {"origin": "again", **run(genome, data, config, seed=1, ratio=row["ratio_to_mo"])},
        )
        print("again", row["digest"][:8], flush=True)
    return 0


def run(
    genome: Genome, data: Any, config: TrainConfig, *, seed: int, ratio: float | None = None
) -> dict[str, Any]:
    """One network: cost, latency in units of MO's, PSNR at every rung."""
    cost = count_cost(genome, FRAME, FRAME)
    torch.manual_seed(seed)
    model = build_model(genome)
    mo = BASELINES["MO"]
    if ratio is None and genome != mo:
        timing = LatencyConfig(height=FRAME, width=FRAME, max_seconds=2.0, min_runs=20)
        ratio = measure_against(model, build_model(mo), timing, device="cpu")[1].value
    rungs: list[dict[str, float]] = []

    def score(network: Any, log: TrainLog) -> bool:
        scores = score_images(network, data.held_out)
        rungs.append(
            {
                "step": log.steps,
                "psnr_db": sum(s.psnr_db for s in scores) / len(scores),
                "ssim": sum(s.ssim for s in scores) / len(scores),
                "loss": log.loss,
                "seconds": log.seconds,
            }
        )
        return True

    log = train(model, data, config, seed=seed, rungs=RUNGS, score=score)
    score(model, log)
    return {
        "genome": genome.to_dict(),
        "digest": genome.digest,
        "macs": cost.macs,
        "parameters": cost.parameters,
        "ratio_to_mo": ratio or 1.0,
        "diverged": log.diverged,
        "rungs": rungs,
        "seconds": log.seconds,
        "seed": seed,
    }


def propose(space: DesignSpace, begun: list[dict[str, Any]], randoms: int) -> tuple[Genome, str]:
    """The next genome: it depends on what is in the table only."""
    if len(begun) < len(BASELINES):
        name = list(BASELINES)[len(begun)]
        return BASELINES[name], name
    known = {row["digest"] for row in begun}
    for attempt in range(10_000):
        chance = random.Random(f"{len(begun)}/{attempt}")
        if len(begun) < len(BASELINES) + randoms:
            params, origin = (
                {gene.name: chance.choice(gene.choices) for gene in space.genes},
                "random",
            )
        else:
            front = pareto_front(
                [(row["rungs"][-1]["psnr_db"], row["ratio_to_mo"]) for row in begun]
            )
            params = space.encode(Genome.from_dict(begun[chance.choice(front)]["genome"]))
            for gene in chance.sample(space.genes, MUTATED_GENES):
                params[gene.name] = chance.choice(gene.choices)
            origin = "mutant"
        genome = space.decode(params)
        if genome.digest not in known:
            return genome, origin
    raise RuntimeError("no new genome in 10,000 attempts")


def begin(path: Path, recipe: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that are there; a table begun with another recipe is refused."""
    recipe = json.loads(json.dumps(recipe))
    if not path.exists():
        machine = {
            "processor": platform.processor() or platform.machine(),
            "threads": torch.get_num_threads(),
        }
        append(path, {**recipe, "machine": {**machine, "torch": torch.__version__}})
        return []
    # A line that a kill cut short is left out, and the file with it.
    whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    path.write_text("".join(whole))
    head, *rows = [json.loads(line) for line in whole]
    if changed := [key for key in recipe if head.get(key) != recipe[key]]:
        sys.exit(
            f"{path} was begun with another recipe ({', '.join(changed)}); give another --out"
        )
    return [row for row in rows if row["origin"] != "again"]


def again(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return rows[:: max(1, len(rows) // count)][:count] if count else []


def append(path: Path, row: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")


def pack(table: Path, packed: Path) -> int:
    head, *rows = [json.loads(line) for line in table.read_text().splitlines()]
    with gzip.GzipFile(packed, "wb", mtime=0) as file:
        file.write(json.dumps({**head, "networks": rows}).encode())
    print(f"{len(rows)} rows -> {packed}, {packed.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
