"""Searches under a latency limit, replayed: how often a quarter of the dark study's budget finds a
network better and faster than MO.

    python tests/benchmarks/search/limited.py --seeds 24 --json
    tests/benchmarks/results/search_limited.json

With the sampler as it is, and without what it does under a limit (nas/samplers/surrogate.py,
`FOCUS_DB` and `FIXED_COST`). The sampler, the genes and the hypervolume are the real ones;
trainings and clocks are looked up: extremely random trees, fitted to the dark study's first two
searches and to this folder's table (450 steps, lifted to the 900 of the searches), plus what they
can't know, a normal number for each network and one for each training. MO, M1 and M2 have about
what they had in those searches. Two workers.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from table import PACKED, features, load

from nas.samplers import distributions, suggest
from nas.samplers import surrogate as structured
from nas.samplers.features import numbers
from nas.samplers.surrogate import StructureSampler
from nas.study.pareto import REFERENCE_RATIO, Reference
from space import BASELINES, DesignSpace, Genome

SPACE = DesignSpace()
RESULTS = Path(__file__).resolve().parents[1] / "results"
MO_MS, LIMIT, NETWORKS, MINUTES, WORKERS = 22.0, 0.5, 31, 13.5, 2
# PSNR (dB) and times MO of the published networks after 900 steps; of amplifying alone.
PUBLISHED = {"MO": (25.30, 1.0), "M1": (25.40, 2.4), "M2": (25.25, 4.0)}
BASELINE_PSNR_DB = 17.85
# From 450 steps to 900 MO gained so many dB. By so many (standard deviations) networks differ from
# what the trees say, and trainings of one network from each other.
LIFT_DB, NETWORK_DB, TRAINING_DB = 0.6, 0.15, 0.1

AS_IT_IS = structured.FOCUS_DB, structured.FIXED_COST


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    figures: dict[str, Any] = {"seeds": args.seeds, "first": args.first}
    figures |= {"networks": NETWORKS, "minutes": MINUTES}
    figures |= {"learnt_from": truth().learnt_from, "psnr_r2": truth().psnr_r2}
    seeds = range(args.first, args.first + args.seeds)
    with ProcessPoolExecutor(args.jobs) as pool:
        for way in ("focused", "plain"):
            counts = list(pool.map(search, seeds, [way == "focused"] * args.seeds))
            found = sum(count > 0 for count in counts)
            figures[way] = {"found": found, "networks": counts}
            print(
                f"{way}: {found} of {args.seeds} searches find a network better and faster than "
                f"MO, {np.mean(counts):.1f} on the mean",
                flush=True,
            )
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


class Truth:
    """What answers for any network: PSNR (dB) after 900 steps and log2 of times MO."""

    def __init__(self) -> None:
        x = np.array([features_of(genome) for genome, _, _ in measured()])
        psnr = np.array([psnr_db or np.nan for _, psnr_db, _ in measured()])
        octaves = np.log2([ratio for _, _, ratio in measured()])
        trained = np.isfinite(psnr)
        settings: dict[str, Any] = {"max_features": 0.5, "random_state": 0}
        self._psnr = ExtraTreesRegressor(200, bootstrap=True, oob_score=True, **settings)
        self._psnr.fit(x[trained], psnr[trained])
        self._line = make_pipeline(StandardScaler(), Ridge(3.0)).fit(x, octaves)
        rest = octaves - self._line.predict(x)
        self._rest = ExtraTreesRegressor(200, **settings).fit(x, rest)
        self.learnt_from, self.psnr_r2 = int(trained.sum()), float(self._psnr.oob_score_)

    def __call__(self, genome: Genome) -> tuple[float, float]:
        x = np.array([features_of(genome)])
        own = random.Random(genome.digest).gauss(0, NETWORK_DB)
        octaves = self._line.predict(x)[0] + self._rest.predict(x)[0]
        return float(self._psnr.predict(x)[0]) + own, float(octaves)


@cache
def truth() -> Truth:
    return Truth()


def features_of(genome: Genome) -> list[float]:
    return numbers(genome) + features(genome)


def measured() -> Iterator[tuple[Genome, float | None, float]]:
    """Genomes with their PSNR (None: not trained) and times MO."""
    for name in ("dark_search_first", "dark_search"):
        for one in json.loads((RESULTS / f"{name}.json").read_text())["networks"]:
            yield (
                Genome.from_dict(one["genome"]),
                one["psnr_db"] if one["kind"] == "complete" else None,
                one["ratio_to_mo"],
            )
    for row in load(PACKED)["networks"]:
        if not row["diverged"] and row["origin"] != "again":
            yield (
                Genome.from_dict(row["genome"]),
                row["rungs"][-1]["psnr_db"] + LIFT_DB,
                row["ratio_to_mo"],
            )


def search(seed: int, focused: bool) -> int:
    """How many networks one search finds that are better and faster than MO."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    structured.FOCUS_DB, structured.FIXED_COST = AS_IT_IS if focused else (math.inf, 0.0)
    chance = random.Random(seed)
    reference = Reference(psnr_db=BASELINE_PSNR_DB, latency_ms=REFERENCE_RATIO * MO_MS)
    sampler = StructureSampler(
        SPACE, seed=seed, reference=reference, limit_ms=LIMIT * MO_MS, stops=False
    )
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    busy = [0.0] * WORKERS  # seconds until which each worker has a trial
    for name, (psnr_db, ratio) in PUBLISHED.items():
        values = [psnr_db + chance.gauss(0, TRAINING_DB), ratio * MO_MS]
        study.add_trial(
            create_trial(
                params=SPACE.encode(BASELINES[name]),
                distributions=distributions(SPACE),
                values=values,
                user_attrs={
                    "ratio_to_mo": ratio,
                    "digest": BASELINES[name].digest,
                    "kind": "complete",
                },
            )
        )
        busy[busy.index(min(busy))] += seconds(math.log2(ratio))
    mo_psnr_db = study.trials[0].values[0]
    running: list[tuple[float, optuna.Trial, list[float]]] = []
    found = 0
    for _ in range(NETWORKS - len(PUBLISHED)):
        worker = busy.index(min(busy))
        if busy[worker] > 60 * MINUTES:
            break
        for ended in sorted(
            (one for one in running if one[0] <= busy[worker]), key=lambda one: one[0]
        ):
            ended[1].set_user_attr("kind", "complete")
            study.tell(ended[1], ended[2])
            running.remove(ended)
        trial = study.ask()
        genome = SPACE.decode(suggest(trial, SPACE))
        trial.set_user_attr("digest", genome.digest)
        psnr_db, octaves = truth()(genome)
        trial.set_user_attr("ratio_to_mo", 2**octaves)
        if 2**octaves > LIMIT:
            trial.set_user_attr("kind", "over_limit")
            study.tell(trial, state=TrialState.PRUNED)
            busy[worker] += 6.0
            continue
        busy[worker] += seconds(octaves)
        values = [psnr_db + chance.gauss(0, TRAINING_DB), 2**octaves * MO_MS]
        running.append((busy[worker], trial, values))
        found += values[0] > mo_psnr_db
    return found


def seconds(octaves: float) -> float:
    """A trial's time by log2 of times MO: 15 s beside the training, MO's 40 s."""
    return 15 + 900 * 0.045 * 2 ** (structured.COST_OCTAVES * octaves)


if __name__ == "__main__":
    sys.exit(main())
