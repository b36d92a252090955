"""`python -m nas.search --study dark`: searches networks that restore extremely dark raw photos.

Trades PSNR against measured latency, with MO, M1 and M2 as the first three trials. Stop it however you like;
the same command goes on.
"""

from __future__ import annotations

import shlex
import signal
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
from rich.console import Console
from rich.markup import escape

from nas import command
from nas.config import SAMPLERS, SYNTHETIC, StudyConfig, load_config, settle
from nas.live import HYPERVOLUME_UNIT, Board, View, make_view
from nas.loop import Ending, Search, settle_reference
from nas.objective import Objective, Runner
from nas.proxy import warnings_of
from nas.remeasure import Measure, remeasure, wanting
from nas.results import Row, finished, read_rows
from nas.samplers import choose_sampler
from nas.storage import default_url, is_storage_error, open_storage, quiet_optuna, shown, storage_error
from nas.study import check_data, make_folder, note_device, open_study
from nas.tables import figure, front_table, milliseconds
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
    ("--data", "data.source", str, f"{SYNTHETIC} (made here, nothing is downloaded) or a folder in SID's layout"),
    ("--steps", "train.steps", int, "training steps of each trial"),
    ("--latency-limit-ms", "latency_limit_ms", float, "networks slower than this are not trained"),
    ("--dtype", "latency.dtype", str, "what is deployed, timed and judged in: float32, float16 or bfloat16"),
    ("--runtime", "latency.runtime", str, "eager, cuda_graph, compile, or auto (cuda_graph on a GPU, else eager)"),
    ("--device", "device", str, "auto, cpu, cuda or cuda:N"),
    ("--sampler", "sampler", str, f"who proposes networks: {', '.join(SAMPLERS)} (auto: by budget)"),
    ("--stopping", "stopping", on_off, "on or off: whether trials that are not among the best third at a rung are stopped"),
    ("--seed", "seed", int, "seeds the proposals, the initial weights and the order of the crops"),
)


class Terminated(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), as schedulers do."""


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError (from command.Parser) where one is unknown or ill-typed."""
    parser = command.Parser(
        prog="python -m nas.search",
        description=__doc__,
        example="python -m nas.search --study dark --trials 24 --latency-limit-ms 60",
    )
    parser.add_argument("--study", required=True, help="a study by name (dark), or a path to one's own TOML file")
    for flag, key, kind, text in _KEYS:
        parser.add_argument(flag, dest=key, type=kind, help=text, metavar=kind.__name__.upper())
    parser.add_argument("--storage", help="SQLAlchemy URL of the study's database (default: RUNS/STUDY/study.db)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where studies keep their files (runs)")
    return parser.parse_args(argv)


def main(
    argv: list[str], *, runner: Runner | None = None, load: Callable[..., Any] | None = None,
    measure: Measure | None = None,
) -> int:  # fmt: skip
    """Runs the command; `runner`, `load` and `measure` replace trials.run_trial, load_data and measure_all."""
    args = vars(parse(argv))
    changes = {key: args[key] for _, key, _, _ in _KEYS}
    config = settle(load_config(args["study"], changes))
    folder = Path(args["runs"]) / config.name
    url = args["storage"] or default_url(folder)
    quiet_optuna()
    make_folder(folder)
    storage = open_storage(url)
    try:
        study = open_study(config, storage, url, folder, launch=_again(argv, None))
        console = Console(width=None if sys.stdout.isatty() else 120)
        signal.signal(signal.SIGTERM, _terminate)
        return _search(study, config, folder, url, console, argv, runner, load, measure, owns_storage=not args["storage"])
    except Exception as error:
        if is_storage_error(error):
            raise storage_error(error, url) from error
        raise
    finally:
        storage.remove_session()
        storage.engine.dispose()  # SQLite then folds its write-ahead log into the one file


def _search(
    study: optuna.Study, config: StudyConfig, folder: Path, url: str, console: Console, argv: list[str],
    runner: Runner | None, load: Callable[..., Any] | None, measure: Measure | None, *, owns_storage: bool,
) -> int:  # fmt: skip
    sampler = choose_sampler(config.sampler, config.trials)
    about = f"{config.device}, {config.data.source}, {config.train.steps} steps, sampler {sampler}"
    board = Board(study=config.name, total=config.trials, about=about, latency_limit_ms=config.latency_limit_ms,
                  timeout_s=None if config.timeout_min is None else 60 * config.timeout_min)  # fmt: skip
    rows = read_rows(study)
    board.rows, board.reference = rows, settle_reference(study, rows)
    done = finished(rows)
    if done >= config.trials:
        ending = Ending(reason=f"all {config.trials} trials were finished already" if done == config.trials else
                        f"{done} trials were finished already, and {config.trials} were asked for")  # fmt: skip
        with make_view(board, console) as view:
            _time_front(study, config, view, measure)
        _report(console, ending, board, config, folder, url, argv)
        return 0
    view = make_view(board, console)
    if done or any(row.kind != "waiting" for row in rows):
        view.note(f"resuming: {done} of {config.trials} trials finished")
    else:
        view.note(f"study {config.name}: {config.trials} trials, {about} -> {folder}")
    try:
        with view:
            view.started(-1, "data")
            data = (load or _load_data)(
                config.data, device=config.device, cache_dir=folder / "cache", on_progress=view.progress
            )
            check_data(study, data.description)
            _note_baseline(study, data)
            if (notice := _note_device(study, config.device)) is not None:
                view.note(notice)
            if config.stopping:
                for notice in warnings_of(study):
                    view.note(notice)
            objective = Objective(
                study=study, space=DesignSpace(), config=config.for_trial(), latency_limit_ms=config.latency_limit_ms,
                data=data, runner=runner or _run_trial, stopping=config.stopping,
            )  # fmt: skip
            ending = Search(
                study=study, config=config, objective=objective, folder=folder, owns_storage=owns_storage, view=view
            ).run()
            if ending.status == 0:
                board.rows = read_rows(study)
                _time_front(study, config, view, measure)
    except KeyboardInterrupt as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not cut the report short
        status = 143 if isinstance(error, Terminated) else command.EXIT_INTERRUPTED
        what = "the front's timing was left out" if finished(read_rows(study)) >= config.trials else "the running trial was put back"
        ending = Ending(reason=f"stopped; {what}, and the same command goes on", status=status)
    board.rows = read_rows(study)
    _report(console, ending, board, config, folder, url, argv)
    return ending.status


def _time_front(study: optuna.Study, config: StudyConfig, view: View, measure: Measure | None) -> None:
    """Measures the front again, all its networks in one run, where that has not been done and no trial runs.

    A figure that moves may let another network onto the front: then that is measured too.
    """
    left_out: list[Row] = []
    while not any(row.kind == "running" for row in view.board.rows):
        rows = [row for row in wanting(study, view.board.front) if row.digest not in {one.digest for one in left_out}]
        if not rows:
            return
        left_out += _time_rows(study, config, rows, view, measure)


def _time_rows(
    study: optuna.Study, config: StudyConfig, rows: list[Row], view: View, measure: Measure | None
) -> list[Row]:
    view.note(f"timing {len(rows)} network{'s' * (len(rows) > 1)} of the front again, in turn with MO in one run")
    view.started(-1, "front")
    left_out = remeasure(
        study, rows, config.latency, device=config.device, measure=measure,
        on_share=lambda share: view.progress("timing", round(100 * share), 100, {}),
    )  # fmt: skip
    for row in left_out:
        view.note(f"{row.name} was not timed again: out of memory; its trial's own figure stays")
    view.ended(read_rows(study), None)
    return left_out


def _report(
    console: Console, ending: Ending, board: Board, config: StudyConfig, folder: Path, url: str, argv: list[str]
) -> None:
    """Why it ended, the front, where everything lies, and the commands to try next."""
    where = Console(stderr=True, width=console.width) if ending.status == 1 else console
    where.print()
    said = f"[bold]{escape(ending.reason)}[/] ({board.done} of {config.trials} trials)"
    where.print(said, highlight=False, soft_wrap=True)
    front = board.front
    if front:
        console.print()
        console.print(front_table(front, board.rows))
        volume = f"hypervolume {figure(board.hypervolume, 2)} {HYPERVOLUME_UNIT}"
        console.print(f"{volume} (above amplifying alone, faster than 8 x MO)", highlight=False)
        if any(not row.steady for row in board.rows):
            console.print("~ drifted while it was timed: something else used the device; trust x MO more than ms")
    elif any(row.kind == "over_limit" for row in board.rows):
        over = [row for row in board.rows if row.kind == "over_limit" and row.latency_ms]
        fastest = min(over, key=lambda row: row.latency_ms or 0.0)
        console.print(f"no network met the limit of {config.latency_limit_ms} ms, so none was trained; the fastest of {len(over)} was "
                      f"{fastest.name} with {milliseconds(fastest)} ms: raise --latency-limit-ms", highlight=False)  # fmt: skip
    console.print()
    lines = [("everything lies in", str(folder)), ("the study is in", shown(url))]
    if board.done:
        more = _again(argv, max(2 * config.trials, board.done))
        lines.append(("more trials", more) if board.done >= config.trials else ("go on", _again(argv, None)))
    elif not front:
        lines.append(("go on", _again(argv, None)))
    if front:
        best = max(front, key=lambda row: row.psnr_db or 0.0)
        model = folder / (best.directory or "")
        data = config.data.source if config.data.source != SYNTHETIC else "DIR"
        # Left out is where the other commands look by themselves.
        named = ["--study", config.name, *([] if folder.parent == Path("runs") else ["--runs", folder.parent]),
                 *([] if url == default_url(folder) else ["--storage", shown(url)])]  # fmt: skip
        lines += [
            ("the best on your pairs", _python("nas.evaluate", "--model", model, "--data", data)),
            ("time the front again", _python("nas.bench", *named, "--front")),
            ("what it is", _python("nas.describe", model / "genome.json")),
            ("look at the study", _python("dashboards", *named)),
            ("one page to send", _python("dashboards.report", *named, "--out", "report.html")),
        ]
    for name, value in lines:
        console.print(f"  [dim]{name:<24}[/]{escape(value)}", highlight=False, soft_wrap=True)


def _again(argv: Sequence[str], trials: int | None) -> str:
    """The same command, with another number of trials where one is given."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if skip or (trials is not None and word.startswith("--trials=")):
            skip = False
            continue
        skip = trials is not None and word == "--trials"
        if not skip:
            flag, is_pair, value = word.partition("=")
            # A storage's password must not be shown; its user knows it.
            kept.append(f"{flag}={shown(value)}" if is_pair and flag == "--storage" else
                        shown(word) if kept and kept[-1] == "--storage" else word)  # fmt: skip
    return _python("nas.search", *kept, *([] if trials is None else ["--trials", trials]))


def _python(module: str, *words: object) -> str:
    return shlex.join(["python", "-m", module, *map(str, words)])


def _note_baseline(study: optuna.Study, data: Any) -> None:
    if "baseline_psnr_db" not in study.user_attrs:
        from trials import amplified_psnr_db

        study.set_user_attr("baseline_psnr_db", amplified_psnr_db(data.held_out))


def _note_device(study: optuna.Study, device: str) -> str | None:
    from trials.latency import device_name

    return note_device(study, device.partition(":")[0], device_name(device))


def _load_data(*args: Any, **kwargs: Any) -> Any:
    from trials import load_data

    return load_data(*args, **kwargs)


def _run_trial(*args: Any, **kwargs: Any) -> Any:
    from trials import run_trial

    return run_trial(*args, **kwargs)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(command.run(main))
