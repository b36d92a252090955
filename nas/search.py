"""`python -m nas.search --study dark`: searches networks that restore extremely dark raw photos.

Trades PSNR against measured latency, with MO, M1 and M2 as the first three trials. Stop it however
you like; the same command goes on.
"""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna

from nas import cli
from nas.loop.final_latency import Measure, time_front
from nas.loop.objective import Runner
from nas.loop.run import Load, prepare, run_search_process, settle_device
from nas.outputs.notes import compose_study, note_study
from nas.samplers import AUTO, SAMPLERS, choose_sampler
from nas.study.config import SYNTHETIC, StudyConfig, load_config, settle
from nas.study.lock import study_lock
from nas.study.pareto import settle_reference
from nas.study.records import finished, read_rows
from nas.study.storage import (
    default_url,
    is_storage_error,
    open_storage,
    quiet_optuna,
    storage_error,
)
from nas.study.store import enqueue_baselines, enqueue_networks, make_folder, open_study
from nas.view.state import SearchOutcome, SearchState
from nas.view.summary import again, report, rung_warnings
from nas.view.terminal import View, make_view
from nas.workers.allocation import LOCAL, WorkerOptions, allocate
from nas.workers.pool import PROGRAM, run_workers
from nas.workers.process import Assignment
from space import DesignSpace
from trials import measure_all
from trials.latency.deployment import CHOICES


def on_off(text: str) -> bool:
    """A flag's "on" or "off"; ArgumentTypeError for another word."""
    if text not in ("on", "off"):
        raise ArgumentTypeError(f"must be on or off, but got {text!r}")
    return text == "on"


_DATA = f"{SYNTHETIC} (made here, nothing is downloaded) or a folder in SID's layout"
_PHOTOS = "a folder of well-exposed photos, half of the crops from then on (data.photo_share)"
_LIMIT = "networks slower than this are not trained; it seeks the best within it"
_DTYPE = f"what is deployed, timed and scored in: {', '.join(CHOICES['dtype'])}"
_RUNTIME = f"{', '.join(CHOICES['runtime'])} (auto: cuda_graph on a GPU, else eager)"
_LATENCY_DEVICE = "the name of the device that times all networks; workers on others only train"
_SAMPLER = f"who proposes networks: {', '.join((AUTO, *SAMPLERS))} (auto: by budget)"
_STOPPING = "on or off: whether trials that are not among the best third at a rung are stopped"
_SEED = "seeds the proposals, the initial weights and the order of the crops"
# Flags that are keys of the config: (flag, key, type, help).
_KEYS: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("--trials", "trials", int, "finished trials in the whole study, the baselines included"),
    ("--timeout-min", "timeout_min", float, "minutes after which no new trial starts"),
    ("--data", "data.source", str, _DATA),
    ("--photos", "data.photos", str, _PHOTOS),
    ("--steps", "train.steps", int, "training steps of each trial"),
    ("--latency-limit-ms", "latency_limit_ms", float, _LIMIT),
    ("--dtype", "latency.dtype", str, _DTYPE),
    ("--runtime", "latency.runtime", str, _RUNTIME),
    ("--device", "device", str, "auto, cpu, cuda or cuda:N"),
    ("--latency-device", "latency_device", str, _LATENCY_DEVICE),
    ("--sampler", "sampler", str, _SAMPLER),
    ("--stopping", "stopping", on_off, _STOPPING),
    ("--seed", "seed", int, _SEED),
)


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError (from cli.Parser) where one is unknown or ill-typed."""
    parser = cli.Parser(
        prog="python -m nas.search",
        description=__doc__,
        example="python -m nas.search --study dark --trials 24 --latency-limit-ms 60",
    )
    study = "a study by name (dark), or a path to one's own TOML file"
    parser.add_argument("--study", required=True, help=study)
    for flag, key, kind, text in _KEYS:
        parser.add_argument(flag, dest=key, type=kind, help=text, metavar=kind.__name__.upper())
    queue = "networks to try after MO, M1 and M2: names (F1), JSON files, another study's trials"
    parser.add_argument("--queue", nargs="+", default=[], metavar="NETWORK", help=queue)
    workers = "processes on this machine that run trials side by side (1)"
    parser.add_argument("--workers", type=int, metavar="N", help=workers)
    parser.add_argument("--per-gpu", type=int, metavar="K", help="workers on each GPU (1)")
    ray = f"run the workers as tasks of a Ray cluster; {LOCAL}: of one made here"
    parser.add_argument("--ray", metavar="ADDRESS", help=ray)
    share = "with --ray: the share of a GPU that each worker takes (1)"
    parser.add_argument("--gpu-per-worker", type=float, metavar="G", help=share)
    cli.add_storage_arguments(parser)
    return parser.parse_args(argv)


def main(
    argv: list[str],
    *,
    runner: Runner | None = None,
    load: Load | None = None,
    measure: Measure = measure_all,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Runs the command; `runner`, `load` and `measure` replace trials.run_trial, load_data and
    measure_all, `program` a worker's.
    """
    args = parse(argv)
    changes = {key: vars(args)[key] for _, key, *_ in _KEYS}
    config = settle(load_config(args.study, changes))
    sampler = choose_sampler(config.sampler, config.trials)
    queue = [cli.read_genome(text) for text in args.queue]
    folder = Path(args.runs) / config.name
    url, owns_storage = args.storage or default_url(folder), not args.storage
    keys = ("workers", "per_gpu", "ray", "gpu_per_worker")
    options = WorkerOptions(**{key: vars(args)[key] for key in keys})
    options.check(config.device, url)
    assignments: list[Assignment] = []  # none where this process does it all
    if options.count(config.device) > 1 or options.ray is not None:
        where = {"study": args.study, "runs": args.runs, "storage": args.storage}
        assignments = allocate(options, config, **where)
    quiet_optuna()
    make_folder(folder)
    console, stop = cli.make_console(), cli.StopSignal()
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    storage = open_storage(url, heartbeat_s=config.heartbeat_s, stop=stop, report=say)
    try:
        study = open_study(config, storage, url, folder)
        note_study(study, compose_study(config, again(argv, None)))
        if queue:
            with study_lock(folder, study):
                # The baselines stay the first.
                enqueue_baselines(study, DesignSpace(), config.latency_limit_ms)
                enqueue_networks(study, DesignSpace(), queue)
        about = f"{config.device}, {config.data.source}, {config.train.steps} steps"
        about += ", photos" if config.data.photos else ""
        about += f", sampler {sampler}"
        about += f", {len(assignments)} workers" if len(assignments) > 1 else ""
        rows = read_rows(study)
        state = SearchState(
            study=config.name,
            total=config.trials,
            about=about,
            latency_limit_ms=config.latency_limit_ms,
            workers=max(1, len(assignments)),
            timeout_s=None if config.timeout_min is None else 60 * config.timeout_min,
            rows=rows,
            reference=settle_reference(study, rows),
        )

        def run_trials(view: View) -> SearchOutcome:
            if not assignments:
                own: dict[str, Any] = {"owns_storage": owns_storage, "runner": runner}
                return run_search_process(study, config, folder, view, stop, load=load, **own)
            if options.ray is None:
                settle_device(study, config, folder, owns_storage=owns_storage)
            prepare(study, config, folder, view, load)
            view.ended(read_rows(study), None)
            shared: dict[str, Any] = {"study": study, "config": config, "view": view, "stop": stop}
            shared["program"] = program
            if options.ray is None:
                return run_workers(assignments, **shared)
            from nas.workers.ray import run_ray

            share = options.gpu_share(config.device)
            return run_ray(assignments, address=options.ray, gpu_per_worker=share, **shared)

        with stop.installed():
            view = make_view(state, console)
            outcome = _search(study, config, folder, view, stop, run_trials, measure)
            if stop.requested():  # a second signal must not cut the report short
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)
            state.rows = read_rows(study)
            report(console, outcome, state, config, folder, url, argv)
            return outcome.status
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
    finally:
        storage.remove_session()
        storage.engine.dispose()  # SQLite then folds its write-ahead log into the one file


def _search(
    study: optuna.Study,
    config: StudyConfig,
    folder: Path,
    view: View,
    stop: cli.StopSignal,
    run_trials: Callable[[View], SearchOutcome],
    measure: Measure,
) -> SearchOutcome:
    """The trials that are left, then the final latency of the front."""
    done, total = view.state.done, config.trials
    outcome = None
    if done >= total:
        reason = f"all {total} trials were finished already"
        if done > total:
            reason = f"{done} trials were finished already, and {total} were requested"
        outcome = SearchOutcome(reason=reason)
    elif done or any(row.kind != "waiting" for row in view.state.rows):
        view.note(f"resuming: {done} of {total} trials finished")
    else:
        view.note(f"study {config.name}: {total} trials, {view.state.about} -> {folder}")
    try:
        with view:
            if outcome is None:
                for warning in rung_warnings(study) if config.stopping else ():
                    view.note(warning)
                outcome = run_trials(view)
            if outcome.status == 0 and not stop.requested():
                view.state.rows = read_rows(study)
                time_front(study, config, view, measure)
            return outcome
    except KeyboardInterrupt:
        is_timed_last = finished(read_rows(study)) >= total
        what = "front's timing was left out" if is_timed_last else "running trial was put back"
        reason = f"stopped; the {what}, and the same command goes on"
        return SearchOutcome(reason=reason, status=stop.status)


if __name__ == "__main__":
    sys.exit(cli.run(main))
