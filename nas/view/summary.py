"""What a search says when it ends: why it ended, the front, where everything lies, and the
commands to try next.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from nas.loop.search_loop import SearchOutcome
from nas.study.config import SYNTHETIC, StudyConfig
from nas.study.storage import default_url, mask_password
from nas.view.state import SearchState
from nas.view.tables import figure, front_table, milliseconds
from nas.view.terminal import HYPERVOLUME_UNIT


def report(
    console: Console,
    ending: SearchOutcome,
    board: SearchState,
    config: StudyConfig,
    folder: Path,
    url: str,
    argv: list[str],
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
            console.print(
                "~ drifted while it was timed: something else used the device; trust x MO "
                "more than ms"
            )
    elif any(row.kind == "over_limit" for row in board.rows):
        # Some may have been trained, before there was a limit.
        over = [
            row for row in board.rows if row.kind in ("over_limit", "complete") and row.latency_ms
        ]
        fastest = min(over, key=lambda row: row.latency_ms or 0.0)
        console.print(
            f"no network met the limit of {config.latency_limit_ms} ms; the fastest of "
            f"{len(over)} was {fastest.name} with "
            f"{milliseconds(fastest)} ms: ask for more --trials, or raise --latency-limit-ms",
            highlight=False,
        )
    console.print()
    lines = [("everything lies in", str(folder)), ("the study is in", mask_password(url))]
    if board.done:
        more = again(argv, max(2 * config.trials, board.done))
        lines.append(
            ("more trials", more) if board.done >= config.trials else ("go on", again(argv, None))
        )
    elif not front:
        lines.append(("go on", again(argv, None)))
    if front:
        best = max(front, key=lambda row: row.psnr_db or 0.0)
        model = folder / (best.directory or "")
        data = config.data.source if config.data.source != SYNTHETIC else "DIR"
        # Left out is where the other commands look by themselves.
        named = [
            "--study",
            config.name,
            *([] if folder.parent == Path("runs") else ["--runs", folder.parent]),
            *([] if url == default_url(folder) else ["--storage", mask_password(url)]),
        ]
        lines += [
            ("the best on your pairs", _python("nas.evaluate", "--model", model, "--data", data)),
            ("time the front again", _python("nas.bench", *named, "--front")),
            ("what it is", _python("nas.describe", model / "genome.json")),
            ("look at the study", _python("dashboards", *named)),
            ("one page to send", _python("dashboards.report", *named, "--out", "report.html")),
        ]
    for name, value in lines:
        console.print(f"  [dim]{name:<24}[/]{escape(value)}", highlight=False, soft_wrap=True)


def again(argv: Sequence[str], trials: int | None) -> str:
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
            kept.append(
                f"{flag}={mask_password(value)}"
                if is_pair and flag == "--storage"
                else mask_password(word)
                if kept and kept[-1] == "--storage"
                else word
            )
    return _python("nas.search", *kept, *([] if trials is None else ["--trials", trials]))


def _python(module: str, *words: object) -> str:
    return shlex.join(["python", "-m", module, *map(str, words)])
