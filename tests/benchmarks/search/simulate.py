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
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

sys.path.insert(0, str(Path(__file__).parent))
from forest import ForestSurrogate, fit_forest
from table import PACKED, Curve, Surrogate, TableSpace, fit, load

from nas.samplers.fresh import DeduplicatingSampler
from nas.samplers.imputation import predict
from nas.samplers.registry import suggest
from nas.samplers.surrogate import StructureSampler
from nas.study.pareto import REFERENCE_RATIO, Reference, hypervolume
from nas.study.ranking import RungEntry, is_promoted
from space import Genome

SPACE = TableSpace()
# PSNR of amplifying alone on the default data's held-out pairs (any study's `baseline_psnr_db`).
BASELINE_PSNR_DB = 17.85
# The methods whose end is to be reached.
GOALS = ("random", "optuna default")


@dataclass(frozen=True)
class Method:
    """A way of searching. `sampler` makes one for a seed; `rungs` are those at which trials may be
    stopped.
    """

    name: str
    sampler: Callable[[int], BaseSampler]
    rungs: tuple[int, ...] = ()
    informed: bool = False
    """Whether the sampler is shown a predicted final PSNR for stopped trials (else Optuna's
    PRUNED).
    """
    fresh: bool = False
    """Whether known networks are drawn anew (nas/samplers/fresh.py); else such a trial is told the
    known values once more.
    """
    structured: bool = False
    """Whether the sampler is the project's own (nas/samplers/surrogate.py), which proposes no
    known network anyway.
    """


def methods() -> dict[str, Method]:
    """All that are compared, by name."""
    rungs = (17, 50, 150)
    made = [
        Method("random", lambda seed: RandomSampler(seed=seed)),
        Method("optuna default", lambda seed: TPESampler(seed=seed)),
        Method("tpe", lambda seed: TPESampler(seed=seed, multivariate=True)),
        Method("tpe group", lambda seed: TPESampler(seed=seed, multivariate=True, group=True)),
        Method("nsga2", lambda seed: NSGAIISampler(seed=seed, population_size=20)),
        Method("gp", lambda seed: GPSampler(seed=seed, deterministic_objective=False)),
    ]
    stopped = [
        replace(one, name=f"{one.name} + stopping", rungs=rungs)
        for one in made
        if one.name != "gp"
    ]
    informed = [
        replace(one, name=f"{one.name}, informed", informed=True)
        for one in stopped
        if one.name != "random + stopping"
    ]
    fresh = [
        replace(one, name=f"{one.name}, fresh", fresh=True) for one in (*made, *stopped, *informed)
    ]
    # A first rung that lies higher costs more and foretells better.
    rest = [one for one in (*stopped, *informed, *fresh) if one.rungs]
    later = [
        replace(one, name=one.name.replace("stopping", "stopping from 50"), rungs=(50, 150))
        for one in rest
    ]
    last = [
        replace(one, name=one.name.replace("stopping", "stopping at 150"), rungs=(150,))
        for one in rest
    ]
    ours = Method("structure", lambda seed: RandomSampler(seed=seed), fresh=True, structured=True)
    own = [
        ours,
        replace(ours, name="structure + stopping", rungs=rungs, informed=True),
        replace(ours, name="structure + stopping from 50", rungs=(50, 150), informed=True),
    ]
    return {one.name: one for one in (*made, *stopped, *informed, *fresh, *later, *last, *own)}


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
        sampler = method.sampler(seed)
        self.reference = Reference(psnr_db=surrogate.baseline_psnr_db, latency_ms=REFERENCE_RATIO)
        if method.structured:
            sampler = StructureSampler(
                SPACE,
                seed=seed,
                reference=lambda: self.reference,
                is_known=lambda digest: digest in self.known,
                stops=bool(method.rungs),
            )
        elif method.fresh:
            sampler = DeduplicatingSampler(
                sampler, SPACE, lambda digest: digest in self.known, seed=seed
            )
        self.study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
        self.at_rung: dict[int, list[RungEntry]] = {step: [] for step in method.rungs}
        self.finals: list[tuple[float, float]] = []
        self.known: dict[str, Any] = {}
        self.ways: list[
            tuple[int, float, float]
        ] = []  # (rung, PSNR there, final PSNR) of complete trials

    def run(self, budget: float, most: int) -> Run:
        """Trials until `budget` mean random trainings are spent, or `most` trials are told."""
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
        """Tells one trial; the seconds of training it took (a known network takes none), and
        whether it was completed.
        """
        if genome.digest in self.known:
            told = self.known[genome.digest]
            if self.method.fresh:
                self.study.tell(trial, state=TrialState.FAIL)
                return 0.0, False
            self.study.tell(trial, told) if told else self.study.tell(
                trial, state=TrialState.PRUNED
            )
            return 0.0, bool(told)
        curve = self.surrogate.curve(genome)
        steps = self.surrogate.rungs
        reached: list[dict[str, float]] = []
        for rung in self.method.rungs:
            psnr_db = curve.psnr_db[steps.index(rung)]
            reached.append({"step": rung, "psnr_db": psnr_db})
            trial.set_user_attr("rungs", reached)
            mine = RungEntry(psnr_db=psnr_db, latency_ms=curve.ratio_to_mo, digest=genome.digest)
            stays = is_promoted(mine, self.at_rung[rung])
            self.at_rung[rung].append(mine)
            if not stays:
                self.stop(trial, genome, curve, rung, psnr_db)
                return rung * curve.step_seconds, False
        final = (curve.psnr_db[-1], curve.ratio_to_mo)
        self.known[genome.digest] = final
        self.finals.append(final)
        self.ways += [
            (rung, curve.psnr_db[steps.index(rung)], final[0]) for rung in self.method.rungs
        ]
        self.study.tell(trial, final)
        return steps[-1] * curve.step_seconds, True

    def stop(
        self, trial: optuna.Trial, genome: Genome, curve: Curve, rung: int, psnr_db: float
    ) -> None:
        if self.method.informed:
            told = (self.foretold(rung, psnr_db), curve.ratio_to_mo)
            self.known[genome.digest] = told
            trial.set_user_attr("foretold", True)
            self.study.tell(trial, told)
        else:
            self.known[genome.digest] = None
            self.study.tell(trial, state=TrialState.PRUNED)

    def foretold(self, rung: int, psnr_db: float) -> float:
        """The final PSNR of a trial stopped at `rung`, by those that went on."""
        return predict([(at, final) for step, at, final in self.ways if step == rung], psnr_db)


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


def one(name: str, kind: str, table: str, seed: int, budget: float, most: int) -> Run:
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
    parser.add_argument(
        "--truth",
        choices=("process", "forest"),
        default="process",
        help="what is fitted to the table (see forest.py)",
    )
    parser.add_argument("--methods", nargs="+", help="some of them (default: all but gp)")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument(
        "--budget",
        type=float,
        default=100,
        help="of a search without stopping, in mean random trainings",
    )
    parser.add_argument("--most", type=int, default=1000, help="trials at most")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--json",
        type=Path,
        help="where all runs go; methods that are there already are not run again",
    )
    parser.add_argument(
        "--summary",
        type=Path,
        help="where medians and quartiles go, for the picture and the README",
    )
    parser.add_argument(
        "--keep", type=Path, help="an earlier summary, whose other methods and goals are kept"
    )
    args = parser.parse_args()
    chosen = args.methods or [name for name in methods() if name != "gp"]
    surrogate, unit = truth(args.truth, str(args.table))
    print(
        "surrogate, left-out:",
        {key: round(value, 3) for key, value in surrogate.errors.items()},
        flush=True,
    )
    kept: dict[str, Any] = (
        json.loads(args.json.read_text()) if args.json and args.json.exists() else {}
    )
    with ProcessPoolExecutor(args.jobs) as pool:
        for name in chosen:
            if name in kept:
                continue
            started = time.monotonic()
            budget = args.budget if not methods()[name].rungs else args.budget / 2
            jobs = [
                pool.submit(one, name, args.truth, str(args.table), seed, budget, args.most)
                for seed in range(args.seeds)
            ]
            runs = [job.result() for job in jobs]
            kept[name] = [vars(run) for run in runs]
            print(f"{name}: {args.seeds} seeds in {time.monotonic() - started:.0f} s", flush=True)
            if args.json:
                args.json.write_text(json.dumps(kept))
    found = {name: [Run(**run) for run in runs] for name, runs in kept.items()}
    summary = {
        "budget": args.budget,
        "seeds": args.seeds,
        "surrogate": surrogate.errors,
        "unit_seconds": unit,
        "methods": {name: summarise(made, args.budget) for name, made in found.items()},
    }
    earlier: dict[str, Any] = (
        json.loads(args.keep.read_text()) if args.keep else {"methods": {}, "reached": {}}
    )
    goals = {
        name: earlier["methods"][name]["median"][-1]
        for name in GOALS
        if name in earlier["methods"]
    }
    goals |= {
        name: float(np.median([at(run, args.budget) for run in found[name]]))
        for name in GOALS
        if name in found
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
    told_all: dict[str, Any] = {}
    print("goals:", {name: round(goal, 2) for name, goal in goals.items()})
    for name, made in runs.items():
        told = [f"{name:32s}", f"{np.mean([len(run.spent) for run in made]):5.0f} trials"]
        told += [
            f"stopped "
            f"{np.sum([run.stopped for run in made]) / np.sum([len(run.spent) for run in made]):4.0%}"
        ]
        told += [
            f"HV at {share:g}: {np.median([at(run, share * budget) for run in made]):.2f}"
            for share in (0.05, 0.1, 0.25, 0.5, 1)
        ]
        trials = float(np.mean([len(run.spent) for run in made]))
        told_all[name] = {
            "trials": trials,
            "seeds": len(made),
            "stopped": float(np.mean([run.stopped for run in made]) / trials),
        }
        for against, goal in goals.items():
            reach = np.array([spent_to_reach(run, goal) for run in made]) / budget
            low, middle, high = np.percentile(reach, [25, 50, 75], method="closest_observation")
            told.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
            told_all[name][against] = {
                key: float(value) if np.isfinite(value) else None
                for key, value in (("median", middle), ("low", low), ("high", high))
            }
        told.append(
            f"{1000 * sum(run.suggest_seconds for run in made) / sum(len(run.spent) for run in made):.0f} "
            f"ms a proposal"
        )
        print(", ".join(told))
    return told_all


if __name__ == "__main__":
    sys.exit(main())
