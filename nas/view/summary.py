"""What a search prints when it starts and when it ends."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import optuna
from rich.console import Console
from rich.markup import escape

from nas.study.config import SYNTHETIC, StudyConfig
from nas.study.records import Row
from nas.study.schema import study_attrs
from nas.study.storage import default_url, mask_password
from nas.view.state import SearchOutcome, SearchState
from nas.view.tables import figure, front_table, milliseconds
from nas.view.terminal import HYPERVOLUME_UNIT

# A rung that orders networks worse than this should not decide about them.
TRUSTED_TAU = 0.6


def rung_warnings(study: optuna.Study) -> list[str]:
    """A line for each rung that `nas.proxy` found untrustworthy; none where it was not run."""
    # Against the study's own training; the end of that is no rung, whatever a longer one says.
    last = int(study_attrs(study).get("config", {}).get("train", {}).get("steps", 0))
    taus = study_attrs(study).get("proxy", {}).get(str(last), {}).get("tau", {})
    lines = []
    for step in sorted(map(int, taus)):
        value = taus[str(step)]["psnr_db"]["value"]
        if step < last and (value is None or value < TRUSTED_TAU):
            tau = "no order" if value is None else f"Kendall's tau {value:.2f}"
            lines.append(
                f"the rung at {step} steps predicts the final order badly ({tau}, below "
                f"{TRUSTED_TAU:g}); a higher train.first_rung or --stopping off leaves it out"
            )
    return lines


def report(
    console: Console,
    outcome: SearchOutcome,
    state: SearchState,
    config: StudyConfig,
    folder: Path,
    url: str,
    argv: list[str],
) -> None:
    """Why it ended, the front, where everything lies, and the commands to try next."""
    head = Console(stderr=True, width=console.width) if outcome.status == 1 else console
    head.print()
    reason = f"[bold]{escape(outcome.reason)}[/] ({state.done} of {config.trials} trials)"
    head.print(reason, highlight=False, soft_wrap=True)
    front = state.front
    if front:
        console.print()
        console.print(front_table(front, state.rows))
        volume = f"hypervolume {figure(state.hypervolume, 2)} {HYPERVOLUME_UNIT}"
        console.print(f"{volume} (above amplifying alone, faster than 8 x MO)", highlight=False)
        if any(not row.steady for row in state.rows):
            what = "~ drifted while it was timed: something else used the device"
            console.print(f"{what}; trust x MO more than ms")
    elif any(row.kind == "over_limit" for row in state.rows):
        console.print(_unmet(state.rows, config), highlight=False)
    console.print()
    lines = [
        ("everything lies in", str(folder)),
        ("the study is in", mask_password(url)),
        *_next_commands(front, state.done, config, folder, url, argv),
    ]
    for name, value in lines:
        console.print(f"  [dim]{name:<24}[/]{escape(value)}", highlight=False, soft_wrap=True)


def _unmet(rows: Sequence[Row], config: StudyConfig) -> str:
    # Some may have been trained, before there was a limit.
    over = [row for row in rows if row.kind in ("over_limit", "complete") and row.latency_ms]
    fastest = min(over, key=lambda row: row.latency_ms or 0.0)
    return (
        f"no network met the limit of {config.latency_limit_ms} ms; the fastest of {len(over)} "
        f"was {fastest.name} with {milliseconds(fastest)} ms: ask for more --trials, or raise "
        "--latency-limit-ms"
    )


def _next_commands(
    front: Sequence[Row], done: int, config: StudyConfig, folder: Path, url: str, argv: list[str]
) -> list[tuple[str, str]]:
    """What to try next, each with its command."""
    if done >= config.trials:
        lines = [("more trials", again(argv, max(2 * config.trials, done)))]
    else:
        lines = [("go on", again(argv, None))] if done or not front else []
    if not front:
        return lines
    best = max(front, key=lambda row: row.psnr_db or 0.0)
    model = folder / (best.directory or "")
    data = config.data.source if config.data.source != SYNTHETIC else "DIR"
    # Without what the other commands find by themselves.
    study: list[object] = ["--study", config.name]
    study += [] if folder.parent == Path("runs") else ["--runs", folder.parent]
    study += [] if url == default_url(folder) else ["--storage", mask_password(url)]
    return [
        *lines,
        ("the best on your pairs", _python("nas.evaluate", "--model", model, "--data", data)),
        ("time the front again", _python("nas.bench", *study, "--front")),
        ("what it is", _python("nas.describe", model / "genome.json")),
        ("look at the study", _python("dashboards", *study)),
        ("one page to send", _python("dashboards.report", *study, "--out", "report.html")),
    ]


def again(argv: Sequence[str], trials: int | None) -> str:
    """The same command without a storage's password, with other `--trials` where given."""
    words: list[str] = []
    flag = ""
    for word in argv:
        before, flag = flag, word
        name, _, value = word.partition("=")
        if trials is not None and "--trials" in (name, before):
            continue
        if before == "--storage":
            word = mask_password(word)
        elif name == "--storage" and value:
            word = f"{name}={mask_password(value)}"
        words.append(word)
    return _python("nas.search", *words, *([] if trials is None else ["--trials", trials]))


def _python(module: str, *words: object) -> str:
    return shlex.join(["python", "-m", module, *map(str, words)])
