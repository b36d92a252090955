"""`python -m nas.proxy --study dark`: is the short training to be trusted?

A search judges networks by a short training, and stops most of them long before its end. This
trains 8 to 12 networks of the study, far apart in PSNR and latency, to the end, whatever a rung
would have decided, and tells for every rung how well its order of the networks is the final one:
Kendall's tau (1: the same order, 0: none) with its interval, for PSNR, SSIM and training loss.
What it finds is kept in the study; stopped, the same command goes on.
"""

from __future__ import annotations

import math
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from rich.table import Table

from nas import cli
from nas.samplers.registry import random_genome
from nas.study.config import resolve_device
from nas.study.ranking import RungEntry, farthest_first
from nas.study.reader import open_to_read, study_name
from nas.study.records import Row, read_rows
from nas.view.tables import duration
from space import Genome, InputError
from trials.config import DataConfig, LatencyConfig, TrainConfig, TrialConfig

EXAMPLE = "python -m nas.proxy --study dark --networks 10"
FEWEST, MOST = 8, 12
# The study's attribute with what was found.
PROXY = "proxy"
# A rung that orders networks worse than this should not decide about them.
TRUSTED_TAU = 0.6
MEASURES = ("psnr_db", "ssim", "loss")
RESAMPLES = 2000

Train = Callable[..., list[Any]]


@dataclass(frozen=True, kw_only=True)
class Tau:
    """Kendall's tau with its 95 % interval (bootstrap over networks); None where it is not
    defined.
    """

    value: float | None
    low: float | None
    high: float | None

    def words(self) -> str:
        """ "0.71 (0.40 to 0.91)"."""
        return (
            "-" if self.value is None else f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
        )


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.proxy", description=__doc__, example=EXAMPLE)
    parser.add_argument("--study", required=True, help="the study's name")
    parser.add_argument(
        "--networks", type=int, default=10, help=f"how many networks, {FEWEST} to {MOST} (10)"
    )
    cli.add_storage_arguments(parser)
    return parser.parse_args(argv)


def main(
    argv: list[str], *, load: Callable[..., Any] | None = None, train: Train | None = None
) -> int:
    """Runs the command; `load` and `train` replace trials.load_data and trials.train_to_the_end."""
    args = parse(argv)
    if not FEWEST <= args.networks <= MOST:
        raise InputError(
            f"--networks must be from {FEWEST} to {MOST}, but got {args.networks}; change it"
        )
    study = open_to_read(args.study, storage=args.storage, runs=args.runs)
    config = _config(study)
    console = cli.make_console()
    chosen = choose(study, args.networks, config.seed)
    kept: dict[str, Any] = dict(study.user_attrs.get(PROXY, {}).get("networks", {}))
    curves = {
        digest: found
        for digest in chosen
        if (found := kept.get(digest) or _finished(study, digest, config.train.steps))
    }
    todo = [genome for digest, genome in chosen.items() if digest not in curves]
    console.print(
        f"study {study.study_name}: {len(chosen)} networks, {len(curves)} of them trained "
        f"to the end already"
    )
    if todo:
        data = _load(study, config, args, load)
        started = time.monotonic()
        for index, genome in enumerate(todo):
            rungs = (train or _train)(genome, config, data=data)
            if len(rungs) and rungs[-1].step == config.train.steps:
                curves[genome.digest] = kept[genome.digest] = [rung.to_dict() for rung in rungs]
                study.set_user_attr(PROXY, {**study.user_attrs.get(PROXY, {}), "networks": kept})
            psnr = ", ".join(f"{rung.psnr_db:.2f}" for rung in rungs)
            left = (time.monotonic() - started) / (index + 1) * (len(todo) - index - 1)
            console.print(
                f"{index + 1} of {len(todo)} {genome.digest[:8]}: {psnr} dB; about "
                f"{duration(left)} left"
            )
    if len(curves) < FEWEST:
        raise InputError(
            f"a rank correlation needs {FEWEST} networks trained to the end, but only "
            f"{len(curves)} were (the others "
            "diverged); give a higher --networks"
        )
    found = correlations(list(curves.values()))
    study.set_user_attr(
        PROXY,
        {
            "networks": kept,
            "judged": sorted(curves),
            "steps": config.train.steps,
            "tau": {
                str(step): {name: vars(tau) for name, tau in taus.items()}
                for step, taus in found.items()
            },
        },
    )
    console.print(_table(found, len(curves), config.train.steps))
    for line in warnings_of(study):
        console.print(line, style="yellow")
    return 0


def choose(study: optuna.Study, count: int, seed: int) -> dict[str, Genome]:
    """`count` networks by digest: of those that reached a rung the farthest apart in PSNR there
    and latency, stopped ones too (those that went on alone would tell too well of the rungs);
    random ones of the space where there are too few.
    """
    rows = {
        row.digest: row
        for row in read_rows(study)
        if row.kind in ("complete", "stopped") and row.repeat_of is None
    }
    trials = study.get_trials(deepcopy=False)
    standings = [
        one for row in rows.values() if (one := _standing(row, trials[row.number].user_attrs))
    ]
    digests = (
        [one.digest for one in farthest_first(standings, min(count, len(standings)))] if standings else []
    )
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


def correlations(curves: Sequence[Sequence[Mapping[str, Any]]]) -> dict[int, dict[str, Tau]]:
    """Of every rung (by its step) and measure: tau with the final PSNR. `curves` are rungs of
    equal steps.
    """
    final = np.array([curve[-1]["psnr_db"] for curve in curves])
    found: dict[int, dict[str, Tau]] = {}
    for place, rung in enumerate(curves[0]):
        values = {
            name: np.array([curve[place][name] for curve in curves], dtype=float)
            for name in MEASURES
        }
        # A low loss should go with a high PSNR.
        found[int(rung["step"])] = {
            name: tau_of(-v if name == "loss" else v, final) for name, v in values.items()
        }
    return found


def tau_of(values: np.ndarray[Any, Any], final: np.ndarray[Any, Any]) -> Tau:
    """Kendall's tau-b of two measures over the same networks."""
    from scipy.stats import kendalltau

    value = float(kendalltau(values, final).statistic)
    if not math.isfinite(value):
        return Tau(value=None, low=None, high=None)
    chance = np.random.default_rng(0)
    picks = chance.integers(0, len(final), (RESAMPLES, len(final)))
    # A pair of a network with itself says nothing: tau-b leaves it out as a tie in both.
    drawn = np.array([kendalltau(values[pick], final[pick]).statistic for pick in picks])
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Tau(value=value, low=float(low), high=float(high))


def warnings_of(study: optuna.Study) -> list[str]:
    """A line for each rung that `nas.proxy` found untrustworthy; none where it was not asked."""
    told = study.user_attrs.get(PROXY, {}).get("tau", {})
    last = max((int(step) for step in told), default=0)
    lines = []
    for step, taus in sorted(told.items(), key=lambda item: int(item[0])):
        value = taus["psnr_db"]["value"]
        if int(step) < last and (value is None or value < TRUSTED_TAU):
            shown = "no order" if value is None else f"Kendall's tau {value:.2f}"
            lines.append(
                f"the rung at {step} steps foretells the final order badly ({shown}, "
                f"below {TRUSTED_TAU:g}): its stops "
                "are worth little; a higher train.first_rung or --stopping off leaves it out"
            )
    return lines


def _standing(row: Row, attrs: Mapping[str, Any]) -> RungEntry | None:
    rungs = attrs.get("rungs") or []
    if not rungs or row.latency_ms is None or not row.digest:
        return None
    return RungEntry(psnr_db=rungs[0]["psnr_db"], latency_ms=row.latency_ms, digest=row.digest)


def _finished(study: optuna.Study, digest: str, steps: int) -> list[dict[str, Any]] | None:
    """The rungs of a trial of that network which was trained to the end; None where there is none."""
    for trial in study.get_trials(deepcopy=False):
        rungs = trial.user_attrs.get("rungs") or []
        if trial.user_attrs.get("digest") == digest and rungs and rungs[-1]["step"] == steps:
            return list(rungs)
    return None


def _config(study: optuna.Study) -> TrialConfig:
    told = study.user_attrs.get("config")
    if not told:
        raise InputError(
            f"study {study.study_name!r} must be one of nas.search that has begun, but "
            f"has no config; run "
            f"python -m nas.search --study {study.study_name}"
        )
    sections = {"data": DataConfig, "train": TrainConfig, "latency": LatencyConfig}
    made: dict[str, Any] = {
        name: _known(kind, told.get(name, {})) for name, kind in sections.items()
    }
    return TrialConfig(
        **made,
        seed=int(told.get("seed", 0)),
        device=resolve_device(str(told.get("device", "cpu"))),
    )


def _known(kind: type[Any], values: Mapping[str, Any]) -> Any:
    return kind(
        **{key: value for key, value in values.items() if key in kind.__dataclass_fields__}
    )


def _load(
    study: optuna.Study, config: TrialConfig, args: Namespace, load: Callable[..., Any] | None
) -> Any:
    from nas.study.store import check_data
    from trials import load_data

    cache = args.runs / study_name(args.study) / "cache"
    data = (load or load_data)(
        config.data, device=config.device, cache_dir=cache, on_progress=lambda *_: None
    )
    check_data(study, data.description)
    return data


def _train(genome: Genome, config: TrialConfig, *, data: Any) -> list[Any]:
    from trials import train_to_the_end

    return train_to_the_end(genome, config, data=data)


def _table(found: Mapping[int, Mapping[str, Tau]], networks: int, steps: int) -> Table:
    table = Table(
        title=f"Kendall's tau with the PSNR after {steps} steps, {networks} networks (95 % "
        f"interval)",
        title_justify="left",
        title_style="bold",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name in ("rung, steps", "PSNR", "SSIM", "training loss"):
        table.add_column(name, justify="right", no_wrap=True)
    for step, taus in found.items():
        table.add_row(str(step), *(taus[name].words() for name in MEASURES))
    return table


if __name__ == "__main__":
    sys.exit(cli.run(main))
