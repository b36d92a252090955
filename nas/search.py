"""`python -m nas.search --study dark`: searches networks that restore extremely dark raw photos.

Trades PSNR against measured latency, with MO, M1 and M2 as the first three trials. Stop it however
you like; the same command goes on.
"""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console

from nas import cli
from nas.cli.networks import read_genome
from nas.cli.signals import StopSignal
from nas.loop.final_latency import Measure, remeasure, wanting
from nas.loop.objective import Runner
from nas.loop.run import Load, prepare, run_search_process, settle_device
from nas.loop.search_loop import SearchOutcome, settle_reference
from nas.outputs.notes import note_study
from nas.outputs.study_note import compose_study
from nas.proxy import warnings_of
from nas.samplers.registry import choose_sampler
from nas.study.config import SAMPLERS, SYNTHETIC, StudyConfig, load_config, settle
from nas.study.lock import study_lock
from nas.study.records import Row, finished, read_rows
from nas.study.storage import (
    default_url,
    is_storage_error,
    open_storage,
    quiet_optuna,
    storage_error,
)
from nas.study.store import enqueue_baselines, enqueue_networks, make_folder, open_study
from nas.view.state import SearchState
from nas.view.summary import again, report
from nas.view.terminal import View, make_view
from nas.workers.allocation import LOCAL, WorkerOptions, allocate
from nas.workers.pool import PROGRAM, run_workers
from nas.workers.worker import Assignment
from space import DesignSpace


def on_off(text: str) -> bool:
    """A flag's "on" or "off"; ArgumentTypeError for another word."""
    if text not in ("on", "off"):
        raise ArgumentTypeError(f"must be on or off, but got {text!r}")
    return text == "on"


# Flags that are keys of the config: (flag, key, type, help).
_KEYS: tuple[tuple[str, str, Callable[[str], Any], str], ...] = (
    ("--trials", "trials", int, "finished trials in the whole study, the three seeds included"),
    ("--timeout-min", "timeout_min", float, "minutes after which no new trial starts"),
    (
        "--data",
        "data.source",
        str,
        f"{SYNTHETIC} (made here, nothing is downloaded) or a folder in SID's layout",
    ),
    ("--steps", "train.steps", int, "training steps of each trial"),
    (
        "--latency-limit-ms",
        "latency_limit_ms",
        float,
        "networks slower than this are not trained; it seeks the best within it",
    ),
    (
        "--dtype",
        "latency.dtype",
        str,
        "what is deployed, timed and judged in: float32, float16 or bfloat16",
    ),
    (
        "--runtime",
        "latency.runtime",
        str,
        "eager, cuda_graph, compile, or auto (cuda_graph on a GPU, else eager)",
    ),
    ("--device", "device", str, "auto, cpu, cuda or cuda:N"),
    (
        "--judge",
        "judge",
        str,
        "the name of the device that times all networks; workers on others then only train",
    ),
    (
        "--sampler",
        "sampler",
        str,
        f"who proposes networks: {', '.join(SAMPLERS)} (auto: by budget)",
    ),
    (
        "--stopping",
        "stopping",
        on_off,
        "on or off: whether trials that are not among the best third at a rung are stopped",
    ),
    ("--seed", "seed", int, "seeds the proposals, the initial weights and the order of the crops"),
)


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError (from cli.Parser) where one is unknown or ill-typed."""
    parser = cli.Parser(
        prog="python -m nas.search",
        description=__doc__,
        example="python -m nas.search --study dark --trials 24 --latency-limit-ms 60",
    )
    parser.add_argument(
        "--study", required=True, help="a study by name (dark), or a path to one's own TOML file"
    )
    for flag, key, kind, text in _KEYS:
        parser.add_argument(flag, dest=key, type=kind, help=text, metavar=kind.__name__.upper())
    parser.add_argument(
        "--queue",
        nargs="+",
        default=[],
        metavar="NETWORK",
        help="networks to try after MO, M1 and M2: names (F1), JSON files, another study's "
        "trial folders",
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="processes on this machine that run trials side by side (1)",
    )
    parser.add_argument("--per-gpu", type=int, metavar="K", help="workers on each GPU (1)")
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help=f"run the workers as tasks of a Ray cluster; {LOCAL}: of one made here",
    )
    parser.add_argument(
        "--gpu-per-worker",
        type=float,
        metavar="G",
        help="with --ray: the share of a GPU that each worker takes (1)",
    )
    cli.add_storage_arguments(parser)
    return parser.parse_args(argv)


def main(
    argv: list[str],
    *,
    runner: Runner | None = None,
    load: Load | None = None,
    measure: Measure | None = None,
    program: Sequence[str] = PROGRAM,
) -> int:
    """Runs the command; `runner`, `load` and `measure` replace trials.run_trial, load_data and
    measure_all, `program` a worker's.
    """
    args = vars(parse(argv))
    changes = {key: args[key] for _, key, _, _ in _KEYS}
    config = settle(load_config(args["study"], changes))
    queue = [read_genome(text) for text in args["queue"]]
    folder = Path(args["runs"]) / config.name
    url = args["storage"] or default_url(folder)
    wanted = WorkerOptions(
        workers=args["workers"],
        per_gpu=args["per_gpu"],
        ray=args["ray"],
        gpu_per_worker=args["gpu_per_worker"],
    )
    wanted.check(config.device, url)
    crew: list[
        Assignment
    ] = []  # of the processes beside this one; empty where this one does it all
    if wanted.count(config.device) > 1 or wanted.ray is not None:
        crew = allocate(
            wanted, config, study=args["study"], runs=args["runs"], storage=args["storage"]
        )
    quiet_optuna()
    make_folder(folder)
    console, asked = cli.make_console(), StopSignal()
    storage = open_storage(
        url,
        heartbeat_s=config.heartbeat_s,
        stop=asked,
        report=lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True),
    )
    try:
        study = open_study(config, storage, url, folder)
        note_study(study, compose_study(config, again(argv, None)))
        if queue:
            with study_lock(folder, study):
                enqueue_baselines(
                    study, DesignSpace(), config.latency_limit_ms
                )  # they stay the first
                enqueue_networks(study, DesignSpace(), queue)
        given = _Given(
            argv=argv,
            wanted=wanted,
            crew=crew,
            program=program,
            runner=runner,
            load=load,
            measure=measure,
        )
        with asked.installed():
            return _search(
                study, config, folder, url, console, asked, given, owns_storage=not args["storage"]
            )
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
    finally:
        storage.remove_session()
        storage.engine.dispose()  # SQLite then folds its write-ahead log into the one file


@dataclass(frozen=True, kw_only=True)
class _Given:
    """What was asked for beside the study, and what tests put in."""

    argv: list[str]
    wanted: WorkerOptions
    crew: list[Assignment]
    program: Sequence[str]
    runner: Runner | None
    load: Load | None
    measure: Measure | None


def _search(
    study: optuna.Study,
    config: StudyConfig,
    folder: Path,
    url: str,
    console: Console,
    asked: StopSignal,
    given: _Given,
    *,
    owns_storage: bool,
) -> int:
    sampler = choose_sampler(config.sampler, config.trials)
    about = f"{config.device}, {config.data.source}, {config.train.steps} steps, sampler {sampler}"
    workers = max(1, len(given.crew))
    about += f", {workers} workers" if workers > 1 else ""
    board = SearchState(
        study=config.name,
        total=config.trials,
        about=about,
        latency_limit_ms=config.latency_limit_ms,
        workers=workers,
        timeout_s=None if config.timeout_min is None else 60 * config.timeout_min,
    )
    rows = read_rows(study)
    board.rows, board.reference = rows, settle_reference(study, rows)
    done = finished(rows)
    view = make_view(board, console)
    over = done >= config.trials
    if over:
        ending = SearchOutcome(
            reason=f"all {config.trials} trials were finished already"
            if done == config.trials
            else f"{done} trials were finished already, and {config.trials} were asked for"
        )
    elif done or any(row.kind != "waiting" for row in rows):
        view.note(f"resuming: {done} of {config.trials} trials finished")
    else:
        view.note(f"study {config.name}: {config.trials} trials, {about} -> {folder}")
    try:
        with view:
            if not over:
                ending = _run_trials(
                    study, config, folder, view, asked, given, owns_storage=owns_storage
                )
            if ending.status == 0 and not asked():
                board.rows = read_rows(study)
                _time_front(study, config, view, given.measure)
    except KeyboardInterrupt:
        what = (
            "the front's timing was left out"
            if finished(read_rows(study)) >= config.trials
            else "the running trial was put back"
        )
        ending = SearchOutcome(
            reason=f"stopped; {what}, and the same command goes on", status=asked.status
        )
    if asked():
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # a second one must not cut the report short
            signal.signal(number, signal.SIG_IGN)
    board.rows = read_rows(study)
    report(console, ending, board, config, folder, url, given.argv)
    return ending.status


def _run_trials(
    study: optuna.Study,
    config: StudyConfig,
    folder: Path,
    view: View,
    asked: StopSignal,
    given: _Given,
    *,
    owns_storage: bool,
) -> SearchOutcome:
    """The trials, by this process alone or by the workers that it is to have."""
    if config.stopping:
        for notice in warnings_of(study):
            view.note(notice)
    if not given.crew:
        return run_search_process(
            study,
            config,
            folder,
            view,
            asked,
            owns_storage=owns_storage,
            runner=given.runner,
            load=given.load,
        )
    if given.wanted.ray is None:
        settle_device(study, config, folder, owns_storage=owns_storage)
    prepare(study, config, folder, view, given.load)
    view.ended(read_rows(study), None)
    if given.wanted.ray is None:
        return run_workers(
            given.crew, study=study, config=config, view=view, asked=asked, program=given.program
        )
    from nas.workers.ray_workers import run_ray

    share = given.wanted.gpu_share(config.device)
    return run_ray(
        given.crew,
        study=study,
        config=config,
        view=view,
        asked=asked,
        address=given.wanted.ray,
        gpu_per_worker=share,
    )


def _time_front(
    study: optuna.Study, config: StudyConfig, view: View, measure: Measure | None
) -> None:
    """Measures the front again, all its networks in one run, where that is yet to do, no trial
    runs, and the device is the judge.

    A figure that moves may let another network onto the front: then that is measured too.
    """
    from trials.latency.measure import device_name

    if study.user_attrs.get("device", {}).get("name") not in (None, device_name(config.device)):
        return
    left_out: list[Row] = []
    while not any(row.kind == "running" for row in view.board.rows):
        rows = [
            row
            for row in wanting(study, view.board.front)
            if row.digest not in {one.digest for one in left_out}
        ]
        if not rows:
            return
        left_out += _time_rows(study, config, rows, view, measure)


def _time_rows(
    study: optuna.Study, config: StudyConfig, rows: list[Row], view: View, measure: Measure | None
) -> list[Row]:
    view.note(
        f"timing {len(rows)} network{'s' * (len(rows) > 1)} of the front again, in turn "
        f"with MO in one run"
    )
    view.started(-1, "front")
    left_out = remeasure(
        study,
        rows,
        config.latency,
        device=config.device,
        measure=measure,
        on_share=lambda share: view.progress("timing", round(100 * share), 100, {}),
    )
    for row in left_out:
        view.note(f"{row.name} was not timed again: out of memory; its trial's own figure stays")
    view.ended(read_rows(study), None)
    return left_out


if __name__ == "__main__":
    sys.exit(cli.run(main))
