"""`python -m nas.proxy --study dark`: is the short training to be trusted?

A search ranks networks by a short training, and stops most of them long before its end. This
trains 8 to 12 networks of the study, far apart in PSNR and latency, to the end, whatever a rung
would have decided, and prints for every rung how well its order of the networks is the final one:
Kendall's tau (1: the same order, 0: none) with its interval, for PSNR, SSIM and training loss.
The results are stored in the study; stopped, the same command goes on.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from nas.view.summary import rung_warnings
from nas.view.tables import duration, plain_table
from space import Genome, InputError
from trials import load_data, train_to_the_end
from trials.config import TrialConfig

EXAMPLE = "python -m nas.proxy --study dark --networks 10"
FEWEST, MOST = 8, 12
MEASURES = ("psnr_db", "ssim", "loss")
RESAMPLES = 2000

Train = Callable[..., list[Any]]


@dataclass(frozen=True, kw_only=True)
class Tau:
    """Kendall's tau with its 95 % interval (bootstrap over networks); None where undefined."""

    value: float | None
    low: float | None
    high: float | None

    def words(self) -> str:
        """ "0.71 (0.40 to 0.91)"."""
        if self.value is None:
            return "-"
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.proxy", description=__doc__, example=EXAMPLE)
    parser.add_argument("--study", required=True, help="the study's name")
    networks = f"how many networks, {FEWEST} to {MOST} (10)"
    parser.add_argument("--networks", type=int, default=10, help=networks)
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
    console = cli.make_console()
    chosen = choose(study, args.networks, config.seed)
    trained: dict[str, Any] = dict(study_attrs(study).get("proxy", {}).get("networks", {}))
    curves = {
        digest: rungs
        for digest in chosen
        if (rungs := trained.get(digest) or _finished(study, digest, config.train.steps))
    }
    todo = [genome for digest, genome in chosen.items() if digest not in curves]
    counts = f"{len(chosen)} networks, {len(curves)} of them trained to the end already"
    console.print(f"study {study.study_name}: {counts}")
    data: Any = _load(study, config, args, load) if todo else None
    started = time.monotonic()
    for count, genome in enumerate(todo, 1):
        scores = (train or train_to_the_end)(genome, config, data=data)
        if len(scores) and scores[-1].step == config.train.steps:
            curves[genome.digest] = trained[genome.digest] = [asdict(one) for one in scores]
            earlier = study_attrs(study).get("proxy", {})
            set_study_attrs(study, proxy={**earlier, "networks": trained})
        psnr = ", ".join(f"{one.psnr_db:.2f}" for one in scores)
        left = duration((time.monotonic() - started) / count * (len(todo) - count))
        name = f"{count} of {len(todo)} {genome.digest[:8]}"
        console.print(f"{name}: {psnr} dB; about {left} left")
    if len(curves) < FEWEST:
        raise InputError(
            f"{FEWEST} networks must be trained to the end, but only {len(curves)} were (others "
            "diverged); give a higher --networks"
        )
    steps, by_step = config.train.steps, correlations(list(curves.values()))
    taus = {str(step): {k: vars(tau) for k, tau in of.items()} for step, of in by_step.items()}
    results = {"networks": trained, "judged": sorted(curves), "steps": steps, "tau": taus}
    set_study_attrs(study, proxy=results)
    title = f"Kendall's tau with the PSNR after {steps} steps, {len(curves)} networks"
    columns = ("rung, steps", "PSNR", "SSIM", "training loss")
    table = plain_table((), columns, title=f"{title} (95 % interval)")
    for step, measures in by_step.items():
        table.add_row(str(step), *(measures[name].words() for name in MEASURES))
    console.print(table)
    for line in rung_warnings(study):
        console.print(line, style="yellow")
    return 0


def choose(study: optuna.Study, count: int, seed: int) -> dict[str, Genome]:
    """`count` networks by digest: the farthest apart in PSNR and latency of those that reached a
    rung, stopped ones too; random ones of the space where there are too few.
    """
    own = (row for row in read_rows(study) if row.repeat_of is None)
    rows = {row.digest: row for row in own if row.kind in ("complete", "stopped")}
    trials = study.get_trials(deepcopy=False)
    entries = [
        RungEntry(psnr_db=rungs[0]["psnr_db"], latency_ms=row.latency_ms, digest=digest)
        for digest, row in rows.items()
        if digest and row.latency_ms and (rungs := trials[row.number].user_attrs.get("rungs"))
    ]
    chosen = {
        one.digest: Genome.from_json(trials[rows[one.digest].number].user_attrs["genome"])
        for one in (farthest_first(entries, min(count, len(entries))) if entries else [])
    }
    number = 0
    while len(chosen) < count:
        genome = random_genome(seed=seed, number=number)
        chosen.setdefault(genome.digest, genome)
        number += 1
    return chosen


def correlations(curves: Sequence[Sequence[Mapping[str, Any]]]) -> dict[int, dict[str, Tau]]:
    """Tau with the final PSNR of every rung (by its step) and measure; each of `curves` holds the
    rungs of one network.
    """
    final = np.array([curve[-1]["psnr_db"] for curve in curves])

    def tau(place: int, name: str) -> Tau:
        values = np.array([curve[place][name] for curve in curves], dtype=float)
        # A low loss should go with a high PSNR.
        return tau_of(-values if name == "loss" else values, final)

    steps = [int(rung["step"]) for rung in curves[0]]
    return {step: {name: tau(i, name) for name in MEASURES} for i, step in enumerate(steps)}


def tau_of(values: np.ndarray[Any, Any], final: np.ndarray[Any, Any]) -> Tau:
    """Kendall's tau-b of two measures over the same networks."""
    from scipy.stats import kendalltau

    value = float(kendalltau(values, final).statistic)
    if not math.isfinite(value):
        return Tau(value=None, low=None, high=None)
    picks = np.random.default_rng(0).integers(0, len(final), (RESAMPLES, len(final)))
    # A pair of a network with itself says nothing: tau-b leaves it out as a tie in both.
    taus = [kendalltau(values[pick], final[pick]).statistic for pick in picks]
    low, high = np.nanpercentile(taus, [2.5, 97.5])
    return Tau(value=value, low=float(low), high=float(high))


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
