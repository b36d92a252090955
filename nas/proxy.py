"""`python -m nas.proxy --study dark`: is the short training to be trusted?

A search ranks networks by a short training, and stops most of them long before its end. This
trains 8 to 32 networks of the study, half of them far apart in PSNR and latency and half the best,
to the end, whatever a rung would have decided, or for as many --steps as you would train a winner.
It prints for every rung how well its order of the networks is the final one (Kendall's tau; 1: the
same order, 0: none), and the regret: by how many dB the network that the rung would choose falls
short of the best. Both also over the networks within 1 dB of the best. The results are stored in
the study; stopped, the same command goes on.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import optuna

from nas import cli
from nas.samplers import random_genome
from nas.study.config import SECTIONS, resolve_device
from nas.study.ranking import RungEntry, farthest_first
from nas.study.reader import open_to_read, study_name
from nas.study.records import read_rows
from nas.study.schema import set_study_attrs, study_attrs
from nas.study.store import check_data
from nas.view.evaluation.agreement import NEAR_DB, Estimate, near_best, regret_of, tau_of
from nas.view.summary import rung_warnings
from nas.view.tables import duration, plain_table
from space import Genome, InputError
from trials import load_data, rung_steps, train_to_the_end
from trials.config import TrialConfig

EXAMPLE = "python -m nas.proxy --study dark --networks 10"
FEWEST, MOST = 8, 32
MEASURES = ("psnr_db", "ssim", "loss")

Train = Callable[..., list[Any]]


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.proxy", description=__doc__, example=EXAMPLE)
    parser.add_argument("--study", required=True, help="the study's name")
    networks = f"how many networks, {FEWEST} to {MOST} (10)"
    parser.add_argument("--networks", type=int, default=10, help=networks)
    steps = "the training that counts as the truth (the study's own steps); e.g. ten times as many"
    parser.add_argument("--steps", type=int, help=steps)
    cli.add_storage_arguments(parser)
    return parser.parse_args(argv)


def main(
    argv: list[str], *, load: Callable[..., Any] | None = None, train: Train | None = None
) -> int:
    """Runs the command; `load` and `train` replace trials.load_data and train_to_the_end."""
    args = parse(argv)
    if not FEWEST <= (got := args.networks) <= MOST:
        raise InputError(f"--networks must be from {FEWEST} to {MOST}, but got {got}; change it")
    study = open_to_read(args.study, storage=args.storage, runs=args.runs)
    config = _config(study)
    own = config.train.steps
    steps = own if args.steps is None else args.steps
    if steps < own:
        raise InputError(
            f"--steps must be at least the study's, {own:,}, but got {steps:,}; raise it"
        )
    rungs = sorted({*rung_steps(own, config.train.first_rung), steps})
    config = replace(config, train=replace(config.train, steps=steps, first_rung=None))
    console = cli.make_console()
    chosen = choose(study, args.networks, config.seed)
    trained: dict[str, Any] = dict(_stored(study, steps))
    curves = {
        digest: found
        for digest in chosen
        if (found := trained.get(digest) or _finished(study, digest, steps))
    }
    todo = [genome for digest, genome in chosen.items() if digest not in curves]
    counts = f"{len(chosen)} networks, {len(curves)} of them trained to the end already"
    console.print(f"study {study.study_name}: {counts}")
    data: Any = _load(study, config, args, load) if todo else None
    started = time.monotonic()
    for count, genome in enumerate(todo, 1):
        scores = (train or train_to_the_end)(genome, config, data=data, rungs=rungs)
        if len(scores) and scores[-1].step == steps:
            curves[genome.digest] = trained[genome.digest] = [asdict(one) for one in scores]
            _store(study, steps, {"networks": trained})
        psnr = ", ".join(f"{one.psnr_db:.2f}" for one in scores)
        left = duration((time.monotonic() - started) / count * (len(todo) - count))
        name = f"{count} of {len(todo)} {genome.digest[:8]}"
        console.print(f"{name}: {psnr} dB; about {left} left")
    if len(curves) < FEWEST:
        raise InputError(
            f"{FEWEST} networks must be trained to the end, but only {len(curves)} were (others "
            "diverged); give a higher --networks"
        )
    found = agreements(list(curves.values()))
    _store(study, steps, {"networks": trained, "judged": sorted(curves), **found})
    near = found["near_best"]
    console.print(
        f"against the PSNR after {steps:,} steps, {len(curves)} networks, {near} of them within "
        f"{NEAR_DB:g} dB of the best (95 % intervals)"
    )
    heads = ("PSNR", "PSNR, near the best", "SSIM", "training loss")
    taus = plain_table((), ("rung, steps", *heads), title="Kendall's tau")
    regrets = plain_table((), ("rung, steps", "all", "near the best"), title="regret, dB")
    for step, tau in found["tau"].items():
        names = ("psnr_db", "near_best", "ssim", "loss")
        taus.add_row(step, *(Estimate(**tau[name]).words() for name in names))
        regret = found["regret_db"][step]
        regrets.add_row(step, *(Estimate(**regret[name]).words() for name in ("all", "near_best")))
    for table in (taus, regrets):
        console.print(table)
    for line in rung_warnings(study):
        console.print(line, style="yellow")
    return 0


def _stored(study: optuna.Study, steps: int) -> dict[str, Any]:
    """What was trained for so many steps before: the rungs of each network, by digest."""
    networks = study_attrs(study).get("proxy", {}).get(str(steps), {}).get("networks", {})
    return dict(networks)


def _store(study: optuna.Study, steps: int, values: dict[str, Any]) -> None:
    earlier = study_attrs(study).get("proxy", {})
    now = {**earlier.get(str(steps), {}), **values}
    set_study_attrs(study, proxy={**earlier, str(steps): now})


def choose(study: optuna.Study, count: int, seed: int) -> dict[str, Genome]:
    """`count` networks by digest: half the farthest apart in PSNR and latency of those that
    reached a rung, stopped ones too, half the best of the rest; random ones of the space where
    there are too few.
    """
    own = (row for row in read_rows(study) if row.repeat_of is None)
    rows = {row.digest: row for row in own if row.kind in ("complete", "stopped")}
    trials = study.get_trials(deepcopy=False)
    entries = {
        digest: (rungs[-1]["psnr_db"], entry)
        for digest, row in rows.items()
        if digest and row.latency_ms and (rungs := trials[row.number].user_attrs.get("rungs"))
        for entry in [
            RungEntry(psnr_db=rungs[0]["psnr_db"], latency_ms=row.latency_ms, digest=digest)
        ]
    }
    reached = [entry for _, entry in entries.values()]
    half = min(count - count // 2, len(reached))
    spread = farthest_first(reached, half) if reached else []
    digests = [entry.digest for entry in spread]
    # By their last rung: the best are mostly those that reached the end.
    best = sorted(entries, key=lambda digest: (-entries[digest][0], digest))
    digests += [digest for digest in best if digest not in digests][: count - len(digests)]
    chosen = {
        digest: Genome.from_json(trials[rows[digest].number].user_attrs["genome"])
        for digest in digests
    }
    number = 0
    while len(chosen) < count:
        genome = random_genome(seed=seed, number=number)
        chosen.setdefault(genome.digest, genome)
        number += 1
    return chosen


def agreements(curves: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Tau and regret of every rung (by its step, rising) against the last, as plain JSON values.

    Each of `curves` holds the rungs of one network, all the same steps.
    """
    final = np.array([curve[-1]["psnr_db"] for curve in curves])
    near = near_best(final)
    taus, regrets = {}, {}
    for place, rung in enumerate(curves[0]):
        step = str(int(rung["step"]))
        values = {
            name: np.array([curve[place][name] for curve in curves], dtype=float)
            for name in MEASURES
        }
        psnr_db = values["psnr_db"]
        values["loss"] = -values["loss"]  # a low loss should go with a high PSNR
        tau = {name: tau_of(values[name], final) for name in MEASURES}
        tau["near_best"] = tau_of(psnr_db[near], final[near])
        regret = {
            "all": regret_of(psnr_db, final),
            "near_best": regret_of(psnr_db[near], final[near]),
        }
        taus[step] = {name: asdict(one) for name, one in tau.items()}
        regrets[step] = {name: asdict(one) for name, one in regret.items()}
    return {"near_best": int(near.sum()), "tau": taus, "regret_db": regrets}


def _finished(study: optuna.Study, digest: str, steps: int) -> list[dict[str, Any]] | None:
    """The rungs of a trial of that network that was trained to the end; None without one."""
    for trial in study.get_trials(deepcopy=False):
        rungs = trial.user_attrs.get("rungs") or []
        if trial.user_attrs.get("digest") == digest and rungs and rungs[-1]["step"] == steps:
            return list(rungs)
    return None


def _config(study: optuna.Study) -> TrialConfig:
    stored = study_attrs(study).get("config")
    if not stored:
        name = study.study_name
        raise InputError(f"study {name!r} must have a config, but has none; run nas.search on it")
    sections: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        known = stored.get(name, {}).items()
        sections[name] = kind(**{k: v for k, v in known if k in kind.__dataclass_fields__})
    device = resolve_device(str(stored.get("device", "cpu")))
    return TrialConfig(**sections, seed=int(stored.get("seed", 0)), device=device)


def _load(
    study: optuna.Study, config: TrialConfig, args: Namespace, load: Callable[..., Any] | None
) -> Any:
    cache = args.runs / study_name(args.study) / "cache"
    data = (load or load_data)(
        config.data, device=config.device, cache_dir=cache, on_progress=lambda *_: None
    )
    check_data(study, data.description)
    return data


if __name__ == "__main__":
    sys.exit(cli.run(main))
