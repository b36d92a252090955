"""How far one study goes: 64 workers on PostgreSQL with trials of 2 s, and studies of 1,000, 3,000
and 10,000 trials.

    python tests/benchmarks/scale.py --workers 1 8 64 --json scale.json
    python tests/benchmarks/scale.py --growth 1000 3000 10000 --profile 10000

The search is real (proposals, recovery, samplers, the stopping rule, storage, notes, artifacts),
training and timing are a sleep. The first part measures trials per second and where a worker's
time goes, in shares that sum to one; a machine with few cores is soon the limit, so processor time
is given too, of workers and of the server. The second fills a study up and measures what one more
trial costs the search (its suggestion, its rungs, its end; without the training), and what a
worker that starts anew waits for.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import dataclasses
import gc
import io
import json
import os
import pstats
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "soak"), str(HERE.parent / "nas"), str(HERE.parents[1])]

import optuna
import psycopg  # noqa: F401
import scipy.stats  # noqa: F401
import torch
from forks import fork, in_fork
from optuna.storages._cached_storage import _CachedStorage
from rich.console import Console
from scale_fill import fill
from scale_meter import Meter, TimedLock, cpu_s
from soak import serving
from stand_ins import Runner

from nas.loop import objective
from nas.loop import search_loop as loop
from nas.study import ranking
from nas.study.config import StudyConfig
from nas.study.records import finished, read_rows
from nas.study.retrying_storage import RetryingStorage
from nas.study.storage import open_storage, quiet_optuna
from nas.study.store import make_folder, open_study
from nas.view.state import SearchState
from nas.view.terminal import make_view
from space import DesignSpace

SLEEP = "the trial itself (sleep)"
RUNGS = (17, 50, 150, 450)
MANY = 10**6
# So many trials that really run come first, as patterns for the rest.
PATTERNS = 30


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[], help="throughput with so many workers"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each of these runs")
    parser.add_argument("--trial-s", type=float, default=2.0)
    parser.add_argument(
        "--growth",
        type=int,
        nargs="*",
        default=[],
        help="costs at so many finished trials, rising",
    )
    parser.add_argument("--samplers", nargs="*", default=["tpe", "nsga2"])
    parser.add_argument(
        "--profile", type=int, help="the functions that cost most at so many finished trials"
    )
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    return parser.parse_args()


@dataclasses.dataclass
class Sleeper(Runner):
    """The tests' stand-in for a training, its time told apart."""

    meter: Meter | None = None
    between: Callable[[], None] = lambda: None

    def __call__(self, *args: Any, decide: Any = None, **kwargs: Any) -> Any:
        assert self.meter is not None
        self.between()

        def decided(score: Any) -> bool:
            with self.meter.at("stopping rule"):  # type: ignore[union-attr]
                return bool(decide(score))

        with self.meter.at(SLEEP):
            return super().__call__(*args, decide=decided, **kwargs)


def metered(meter: Meter) -> None:
    """Puts `meter` around what the shares are told of."""
    meter.wrap_all(_CachedStorage, "storage")
    meter.wrap(RetryingStorage, "set_trial_at_once", "storage")  # what one_write collected
    for sampler in (
        loop.ImputingSampler,
        optuna.samplers.TPESampler,
        optuna.samplers.NSGAIISampler,
        optuna.samplers.RandomSampler,
    ):
        meter.wrap_all(sampler, "sampling")
    # Samplers with imputation read a storage in memory: that is sampling too.
    meter.wrap_all(optuna.storages.InMemoryStorage, "sampling")
    meter.wrap(objective, "leave", "artifacts")
    meter.wrap(objective, "note_trial", "notes")
    meter.wrap(loop, "read_rows", "reading rows")
    meter.wrap(objective, "read_rows", "reading rows")
    meter.wrap(ranking, "promoted", "stopping rule")
    study_lock = loop.study_lock
    loop.study_lock = lambda *args: TimedLock(meter, study_lock(*args))  # type: ignore[assignment]


def config_of(sampler: str) -> StudyConfig:
    return StudyConfig(name="scale", trials=MANY, sampler=sampler, device="cpu")


def searching(
    url: str, folder: Path, runner: Runner, sampler: str, minutes: float | None, **changes: Any
) -> loop.Search:
    """A worker's search in a study of its own opening, as nas.search makes it."""
    quiet_optuna()
    config = dataclasses.replace(config_of(sampler), timeout_min=minutes)
    make_folder(folder)
    study = open_study(config, open_storage(url), url, folder)
    if "baseline_psnr_db" not in study.user_attrs:
        study.set_user_attr("baseline_psnr_db", 18.0)
    made = objective.Objective(
        study=study,
        space=DesignSpace(),
        config=config.for_trial(),
        latency_limit_ms=None,
        data=None,
        runner=runner,
        stopping=True,
    )
    board = SearchState(study="scale", total=MANY, about="")
    view = make_view(board, Console(file=io.StringIO(), width=120))
    return loop.Search(
        study=study,
        config=config,
        objective=made,
        folder=folder,
        owns_storage=False,
        view=view,
        **changes,
    )


# --- throughput


def throughput(workers: int, args: argparse.Namespace) -> dict[str, Any]:
    """Trials per second of so many workers, and where their time goes."""
    with tempfile.TemporaryDirectory() as place, serving(Path(place)) as server:
        folder, results = Path(place) / "runs" / "scale", Path(place) / "results"
        results.mkdir()
        in_fork(
            lambda: searching(server.url, folder, Sleeper(meter=Meter()), "tpe", 1e-6).run().status
        )

        def work(index: int) -> int:
            meter = Meter()
            metered(meter)
            searched = searching(
                server.url,
                folder,
                Sleeper(seconds=args.trial_s, rungs=RUNGS, meter=meter),
                "tpe",
                args.seconds / 60,
            )
            meter.take()
            used = cpu_s()
            searched.run()
            result = {
                "seconds": meter.take(),
                "calls": dict(meter.calls),
                "cpu_s": cpu_s() - used,
                "trials": len(searched.objective.runner.calls),
            }  # type: ignore[attr-defined]
            (results / f"{index}.json").write_text(json.dumps(result))
            return 0

        server_before, started = server_cpu_s(server), time.monotonic()
        log = Path(place) / "log"
        processes = [fork(lambda index=index: work(index), log) for index in range(workers)]  # type: ignore[misc]
        statuses = [os.waitpid(process, 0)[1] for process in processes]
        if any(statuses):
            raise RuntimeError(f"a worker failed:\n{log.read_text()[-3000:]}")
        wall_s = time.monotonic() - started
        found = [json.loads(path.read_text()) for path in results.iterdir()]
        rows = in_fork(
            lambda: finished(
                read_rows(optuna.load_study(study_name="scale", storage=open_storage(server.url)))
            )
        )
        time.sleep(1)  # the server's processes end, and their time is then counted
        server_s = server_cpu_s(server) - server_before
    trials = sum(one["trials"] for one in found)
    held_s = sum(one["seconds"].pop("lock held", 0.0) for one in found)
    whole = sum(sum(one["seconds"].values()) for one in found)
    labels = sorted({label for one in found for label in one["seconds"]})
    return {
        "workers": workers,
        "wall_s": wall_s,
        "trials": trials,
        "finished": rows,
        "trials_per_s": trials / wall_s,
        "of_ideal": trials / wall_s / (workers / args.trial_s),
        "shares": {
            label: sum(one["seconds"].get(label, 0.0) for one in found) / whole for label in labels
        },
        "ask_lock_held_ms": 1000
        * held_s
        / max(1, sum(one["calls"].get("asks", 0) for one in found)),
        "worker_cpu_ms_a_trial": 1000 * sum(one["cpu_s"] for one in found) / trials,
        "server_cpu_ms_a_trial": 1000 * server_s / trials,
        "storage_calls_a_trial": sum(one["calls"].get("storage", 0) for one in found) / trials,
    }


def server_cpu_s(server: Any) -> float:
    """Processor time of the server's ended processes and of its first."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(word) for word in words[11:15]) / os.sysconf("SC_CLK_TCK")


# --- growth


class Ended(BaseException):
    """So many trials are enough."""


def cost(url: str, folder: Path, sampler: str, trials: int, profile: bool) -> dict[str, Any]:
    """Milliseconds by label of `trials` more trials, and of a worker's start up to its first; in
    this process.
    """
    meter = Meter(time.thread_time)
    if not profile:  # wrappers would be what the profile is full of
        metered(meter)
    taken: list[dict[str, float]] = []
    walls = [time.perf_counter()]

    def between() -> None:
        taken.append(meter.take())
        walls.append(time.perf_counter())
        if len(taken) == 2 and profile:
            profiler.enable()
        if len(taken) > trials:
            raise Ended

    profiler = cProfile.Profile()
    searched = searching(
        url, folder, Sleeper(steps=1, rungs=RUNGS, meter=meter, between=between), sampler, None
    )
    with contextlib.suppress(Ended):
        searched.run()
    profiler.disable()
    if profile:
        said = io.StringIO()
        stats = pstats.Stats(profiler, stream=said)
        stats.sort_stats("cumulative").print_stats(60)
        stats.sort_stats("tottime").print_stats(25)
        return {"profile": said.getvalue()}
    for one in taken:
        one.pop("lock held", None)
    labels = sorted({label for one in taken[1:] for label in one})
    steps = [b - a for a, b in pairwise(walls)]
    return {
        "resume_ms": 1000 * steps[0],
        "resume_cpu_ms": 1000 * sum(taken[0].values()),
        "resume_storage_cpu_ms": 1000 * taken[0].get("storage", 0.0),
        "trial_ms": 1000 * statistics.median(steps[2:]),
        "trial_cpu_ms": 1000 * statistics.median(sum(one.values()) for one in taken[2:]),
        "by_label_cpu_ms": {
            label: 1000 * statistics.median(one.get(label, 0.0) for one in taken[2:])
            for label in labels
        },
    }


def growth(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The costs at each number of trials and with each sampler."""
    found = []
    with tempfile.TemporaryDirectory() as place, serving(Path(place)) as server:
        folder = Path(place) / "runs" / "scale"
        in_fork(lambda: cost(server.url, folder, "random", PATTERNS, False))
        for count in sorted({*args.growth, *([args.profile] if args.profile else [])}):
            started = time.monotonic()
            in_fork(
                lambda count=count: fill(
                    optuna.load_study(study_name="scale", storage=open_storage(server.url)), count
                )
            )  # type: ignore[misc]
            print(f"filled to {count:,} in {time.monotonic() - started:.0f} s", flush=True)
            for sampler in args.samplers if count in args.growth else []:
                one = in_fork(lambda sampler=sampler: cost(server.url, folder, sampler, 7, False))  # type: ignore[misc]
                found.append({"finished": count, "sampler": sampler, **one})
                print("\n".join(tables({"throughput": [], "growth": found[-1:]})), flush=True)
            if count == args.profile:
                for sampler in args.samplers:
                    print(
                        in_fork(
                            lambda sampler=sampler: cost(server.url, folder, sampler, 4, True)
                        )["profile"]
                    )  # type: ignore[misc]
    return found


def tables(found: dict[str, Any]) -> Iterator[str]:
    """What was found, in words and columns."""
    for one in found["throughput"]:
        ideal = f"{100 * one['of_ideal']:.0f} % of what sleeping alone would be"
        yield (
            f"{one['workers']} workers: {one['trials_per_s']:.2f} trials a second ({ideal}), "
            f"{one['trials']} in {one['wall_s']:.0f} s"
        )
        yield from (
            f"  {label:<28}{100 * share:6.1f} %"
            for label, share in sorted(one["shares"].items(), key=lambda item: -item[1])
        )
        cpu = (one["worker_cpu_ms_a_trial"], one["server_cpu_ms_a_trial"])
        yield "  processor time a trial: {:.0f} ms in its worker, {:.0f} in the server".format(
            *cpu
        )
        calls, held_ms = one["storage_calls_a_trial"], one["ask_lock_held_ms"]
        yield f"  {calls:.0f} storage calls a trial; the lock for asking is held {held_ms:.0f} ms"
    for one in found["growth"]:
        costs = (
            f"a trial costs the search {one['trial_ms']:.0f} ms "
            f"({one['trial_cpu_ms']:.0f} of its own processor's), "
            f"a start {one['resume_ms']:.0f} ms ({one['resume_cpu_ms']:.0f})"
        )
        yield f"{one['finished']:,} finished, {one['sampler']}: {costs}"
        yield "  " + ", ".join(
            f"{label} {ms:.0f}"
            for label, ms in sorted(one["by_label_cpu_ms"].items(), key=lambda item: -item[1])
        )


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("asked to end"))  # with its servers
    gc.collect()
    gc.freeze()
    found: dict[str, Any] = {"throughput": [], "growth": []}
    for workers in args.workers:
        found["throughput"].append(throughput(workers, args))
        print(
            "\n".join(tables({"throughput": found["throughput"][-1:], "growth": []})), flush=True
        )
    if args.growth or args.profile:
        found["growth"] = growth(args)
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
