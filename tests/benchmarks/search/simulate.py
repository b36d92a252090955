"""Replays samplers and stopping over the table: hypervolume against training spent, 30 seeds each.

    python tests/benchmarks/search/simulate.py --methods random ours --seeds 30 --json sim.json

Everything is the real thing (Optuna's samplers, this project's genes, its stopping rule and its
hypervolume) but the training, which is looked up (see table.py). Training spent is counted in
trainings of a mean random genome, so that a search which proposes small networks, or stops early,
has spent less. One line a method: how much training it needs to reach what random search, and
Optuna's default, reach at the end of their budget.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

sys.path.insert(0, str(Path(__file__).parent))
from forest import ForestSurrogate, fit_forest
from table import PACKED, Surrogate, TableSpace, fit, load

from nas.samplers import suggest
from nas.samplers.surrogate import StructureSampler
from nas.study.pareto import REFERENCE_RATIO, Reference, hypervolume
from nas.study.ranking import RungEntry, is_promoted
from nas.study.schema import END
from space import Genome

SPACE = TableSpace()
# PSNR of amplifying alone on the default data's held-out pairs (any study's `baseline_psnr_db`).
BASELINE_PSNR_DB = 17.85
# The methods whose end is to be reached.
GOALS = ("random", "optuna default")


@dataclass(frozen=True)
class Method:
    """A way of searching. `sampler` makes one for a seed, None: the project's own; `rungs` are
    those at which trials may be stopped.
    """

    name: str
    sampler: Callable[[int], BaseSampler] | None = None
    rungs: tuple[int, ...] = ()


def methods() -> dict[str, Method]:
    """All that are compared, by name."""
    made = [
        Method("random", lambda seed: RandomSampler(seed=seed)),
        Method("optuna default", lambda seed: TPESampler(seed=seed)),
        Method("tpe", lambda seed: TPESampler(seed=seed, multivariate=True)),
        Method("tpe group", lambda seed: TPESampler(seed=seed, multivariate=True, group=True)),
        Method("nsga2", lambda seed: NSGAIISampler(seed=seed, population_size=20)),
        Method("structure"),
    ]
    # A first rung that lies higher costs more and predicts better.
    plans = {"stopping": (17, 50, 150), "stopping from 50": (50, 150), "stopping at 150": (150,)}
    stopped = [
        replace(one, name=f"{one.name} + {plan}", rungs=rungs)
        for plan, rungs in plans.items()
        for one in made
    ]
    gp = Method("gp", lambda seed: GPSampler(seed=seed, deterministic_objective=False))
    return {one.name: one for one in (*made, *stopped, gp)}


@dataclass
class Run:
    """One seed of one method: after each trial the training spent (in mean random trainings) and
    the hypervolume.
    """

    spent: list[float] = field(default_factory=list)
    volume: list[float] = field(default_factory=list)
    stopped: int = 0
    suggest_seconds: float = 0.0


class Replay:
    """One search over the surrogate."""

    def __init__(
        self,
        method: Method,
        surrogate: Surrogate | ForestSurrogate,
        unit_seconds: float,
        seed: int,
    ) -> None:
        self.method, self.surrogate, self.unit = method, surrogate, unit_seconds
        self.reference = Reference(psnr_db=surrogate.baseline_psnr_db, latency_ms=REFERENCE_RATIO)
        sampler = method.sampler(seed) if method.sampler else None
        sampler = sampler or StructureSampler(
            SPACE, seed=seed, reference=self.reference, stops=bool(method.rungs)
        )
        self.study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        self.at_rung: dict[int, list[RungEntry]] = {step: [] for step in method.rungs}
        self.finals: list[tuple[float, float]] = []
        self.known: dict[str, tuple[float, float] | None] = {}
        """PSNR and ratio by digest; None where it was stopped."""

    def run(self, budget: float, most: int) -> Run:
        """At most `most` trials, until `budget` mean random trainings are spent."""
        made, spent, area = Run(), 0.0, 0.0
        for _ in range(most):
            started = time.perf_counter()
            trial = self.study.ask()
            genome = SPACE.decode(suggest(trial, SPACE))
            made.suggest_seconds += time.perf_counter() - started
            seconds, completed = self.trial(trial, genome)
            spent += seconds / self.unit
            made.stopped += not completed
            if completed:
                area = hypervolume(self.finals, self.reference)
            made.spent.append(spent)
            made.volume.append(area)
            if spent >= budget:
                break
        return made

    def trial(self, trial: optuna.Trial, genome: Genome) -> tuple[float, bool]:
        """Runs one trial; its seconds of training (none for a known network), and whether it was
        completed.
        """
        if genome.digest in self.known:
            trial.set_user_attr("repeat_of", genome.digest)
            return self.end(trial, genome, self.known[genome.digest], 0.0)
        curve = self.surrogate.curve(genome)
        steps = self.surrogate.rungs
        reached: list[dict[str, Any]] = []
        for rung in (*self.method.rungs, steps[-1]):
            psnr_db = curve.psnr_db[steps.index(rung)]
            reached.append({"step": rung, "psnr_db": psnr_db, "latency_ms": curve.ratio_to_mo})
            if rung == steps[-1]:
                reached[-1]["decision"] = END
            trial.set_user_attr("rungs", reached)
            if rung != steps[-1]:
                mine = RungEntry(
                    psnr_db=psnr_db, latency_ms=curve.ratio_to_mo, digest=genome.digest
                )
                stays = is_promoted(mine, self.at_rung[rung])
                self.at_rung[rung].append(mine)
                if not stays:
                    return self.end(trial, genome, None, rung * curve.step_seconds)
        final = (curve.psnr_db[-1], curve.ratio_to_mo)
        self.finals.append(final)
        return self.end(trial, genome, final, steps[-1] * curve.step_seconds)

    def end(
        self,
        trial: optuna.Trial,
        genome: Genome,
        values: tuple[float, float] | None,
        seconds: float,
    ) -> tuple[float, bool]:
        self.known[genome.digest] = values
        trial.set_user_attr("digest", genome.digest)
        trial.set_user_attr("kind", "complete" if values else "stopped")
        self.study.tell(trial, values, state=None if values else TrialState.PRUNED)
        return seconds, bool(values)


def unit_seconds(surrogate: Surrogate | ForestSurrogate) -> float:
    """Seconds of a whole training of a random genome, the mean of 500."""
    chance = random.Random(0)
    made = [
        SPACE.decode({gene.name: chance.choice(gene.choices) for gene in SPACE.genes})
        for _ in range(500)
    ]
    return float(
        np.mean([surrogate.curve(genome).step_seconds * surrogate.rungs[-1] for genome in made])
    )


@cache
def truth(kind: str, table: str) -> tuple[Surrogate | ForestSurrogate, float]:
    """What answers for any genome, and the seconds of a mean random training."""
    made = {"process": fit, "forest": fit_forest}[kind](
        load(Path(table)), baseline_psnr_db=BASELINE_PSNR_DB
    )
    return made, unit_seconds(made)


def one(name: str, kind: str, table: str, budget: float, most: int, seed: int) -> Run:
    """One seed of one method, in a process of its own."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return Replay(methods()[name], *truth(kind, table), seed).run(budget, most)


def spent_to_reach(run: Run, volume: float) -> float:
    """Training spent when the hypervolume first reached `volume`; infinite where it never did."""
    return next(
        (spent for spent, area in zip(run.spent, run.volume, strict=True) if area >= volume),
        float("inf"),
    )


def at(run: Run, spent: float) -> float:
    """The hypervolume when `spent` was spent."""
    area = 0.0
    for now, volume in zip(run.spent, run.volume, strict=True):
        if now > spent:
            break
        area = volume
    return area


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=PACKED)
    truths = "what is fitted to the table (see forest.py)"
    parser.add_argument("--truth", choices=("process", "forest"), default="process", help=truths)
    parser.add_argument("--methods", nargs="+", help="some of them (default: all but gp)")
    parser.add_argument("--seeds", type=int, default=30)
    budget = "of a search without stopping, in mean random trainings"
    parser.add_argument("--budget", type=float, default=100, help=budget)
    parser.add_argument("--most", type=int, default=1000, help="trials at most")
    parser.add_argument("--jobs", type=int, default=1)
    runs = "where all runs go; methods that are there already are not run again"
    parser.add_argument("--json", type=Path, help=runs)
    summary = "where medians and quartiles go, for the picture and the README"
    parser.add_argument("--summary", type=Path, help=summary)
    earlier = "an earlier summary, whose other methods and goals stay"
    parser.add_argument("--keep", type=Path, help=earlier)
    args = parser.parse_args()
    chosen = args.methods or [name for name in methods() if name != "gp"]
    surrogate, unit = truth(args.truth, str(args.table))
    errors = {key: round(value, 3) for key, value in surrogate.errors.items()}
    print("surrogate, left-out:", errors, flush=True)
    stored = json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    with ProcessPoolExecutor(args.jobs) as pool:
        for name in (name for name in chosen if name not in stored):
            started = time.monotonic()
            budget = args.budget / (2 if methods()[name].rungs else 1)
            search = partial(one, name, args.truth, str(args.table), budget, args.most)
            stored[name] = [vars(run) for run in pool.map(search, range(args.seeds))]
            print(f"{name}: {args.seeds} seeds in {time.monotonic() - started:.0f} s", flush=True)
            if args.json:
                args.json.write_text(json.dumps(stored))
    found = {name: [Run(**run) for run in runs] for name, runs in stored.items()}
    summary = {
        "budget": args.budget,
        "seeds": args.seeds,
        "surrogate": surrogate.errors,
        "unit_seconds": unit,
        "methods": {name: summarise(made, args.budget) for name, made in found.items()},
    }
    earlier = json.loads(args.keep.read_text()) if args.keep else {"methods": {}, "reached": {}}
    goals = {
        name: float(np.median([at(run, args.budget) for run in found[name]]))
        if name in found
        else earlier["methods"][name]["median"][-1]
        for name in GOALS
        if name in found or name in earlier["methods"]
    }
    summary["reached"] = {**earlier["reached"], **report(found, goals, args.budget)}
    summary["methods"] = {**earlier["methods"], **summary["methods"]}
    if args.summary:
        args.summary.write_text(json.dumps(summary, indent=1) + "\n")
    return 0


def summarise(made: list[Run], budget: float) -> dict[str, list[float]]:
    """Quartiles of the hypervolume at 60 amounts of training, as far as the method went."""
    end = min(budget, float(np.median([run.spent[-1] for run in made])))
    spent = [float(value) for value in np.geomspace(1, end, 60)]
    volumes = np.array([[at(run, value) for value in spent] for run in made])
    low, median, high = (
        [float(value) for value in row] for row in np.percentile(volumes, [25, 50, 75], axis=0)
    )
    return {"spent": spent, "low": low, "median": median, "high": high}


def report(runs: dict[str, list[Run]], goals: dict[str, float], budget: float) -> dict[str, Any]:
    """One line a method: median training to reach the hypervolumes `goals`, those of GOALS'
    medians at `budget`.
    """
    figures: dict[str, Any] = {}
    print("goals:", {name: round(goal, 2) for name, goal in goals.items()})
    for name, made in runs.items():
        trials = float(np.mean([len(run.spent) for run in made]))
        stopped = float(np.mean([run.stopped for run in made]) / trials)
        words = [f"{name:32s}", f"{trials:5.0f} trials", f"stopped {stopped:4.0%}"]
        words += [
            f"HV at {share:g}: {np.median([at(run, share * budget) for run in made]):.2f}"
            for share in (0.05, 0.1, 0.25, 0.5, 1)
        ]
        figures[name] = {"trials": trials, "seeds": len(made), "stopped": stopped}
        for against, goal in goals.items():
            reach = np.array([spent_to_reach(run, goal) for run in made]) / budget
            low, middle, high = np.percentile(reach, [25, 50, 75], method="closest_observation")
            words.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
            figures[name][against] = {
                key: float(value) if np.isfinite(value) else None
                for key, value in (("median", middle), ("low", low), ("high", high))
            }
        seconds = np.mean([run.suggest_seconds for run in made]) / trials
        words.append(f"{1000 * seconds:.0f} ms a proposal")
        print(", ".join(words))
    return figures


if __name__ == "__main__":
    sys.exit(main())
