"""Whether a search is slowed by its page being open and asking for news: the same short real
search, with and without.

example: python tests/benchmarks/served_search.py --pairs 4

Each pair is one search alone and one with `python -m dashboards` and a real Chromium on its page,
in an order that changes from pair to pair. Printed are the ratios of their times of training, and
of the whole, with 95 % intervals over pairs. The target is at most 1.05.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "dashboards"))

import numpy as np
import optuna
from browser import open_tab
from scipy import stats

# Small data and short timing: what is compared is training, which a viewer could slow.
STUDY = """
stopping = false
[data]
scenes = 24
held_out = 4
[train]
steps = {steps}
[latency]
height = 256
width = 256
max_seconds = 0.5
front_seconds = 0.5
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path, help="where the figures go")
    args = parser.parse_args()
    ratios: dict[str, list[float]] = {"training": [], "whole": []}
    for pair in range(args.pairs):
        took = {}
        for open_page in (False, True) if pair % 2 == 0 else (True, False):
            took[open_page] = search(args.steps, open_page=open_page)
        for place, name in enumerate(ratios):
            alone_s, served_s = took[False][place], took[True][place]
            ratios[name].append(served_s / alone_s)
            print(
                f"pair {pair}, {name}: {alone_s:.1f} s alone, {served_s:.1f} s with the page "
                f"open, ratio {ratios[name][-1]:.3f}",
                flush=True,
            )
    found: dict[str, Any] = {name: interval(values) for name, values in ratios.items()}
    for name, one in found.items():
        print(
            f"{name}: ratio {one['ratio']:.3f} (95 % interval {one['low']:.3f} to "
            f"{one['high']:.3f}) over {args.pairs} pairs"
        )
    if args.json:
        args.json.write_text(
            json.dumps({**found, "pairs": args.pairs, "steps": args.steps}) + "\n"
        )


def interval(ratios: list[float]) -> dict[str, float]:
    """Geometric mean with its 95 % interval (Student's t)."""
    logs = np.log(ratios)
    half = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs) if len(logs) > 1 else np.inf
    low, high = np.exp([logs.mean() - half, logs.mean() + half])
    return {"ratio": float(np.exp(logs.mean())), "low": float(low), "high": float(high)}


def search(steps: int, *, open_page: bool) -> tuple[float, float]:
    """Seconds of training in MO, M1 and M2, and of the whole command from its first trial to its
    end.
    """
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        toml = Path(folder) / "served.toml"
        toml.write_text(STUDY.format(steps=steps))
        base = [sys.executable, "-m", "nas.search", "--study", str(toml), "--runs", folder]
        # The first command makes the study, so that there is a page to open; what is timed are the
        # trials after it.
        subprocess.run([*base, "--trials", "1"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        if open_page:
            stack.enter_context(page(folder))
        started = time.monotonic()
        subprocess.run([*base, "--trials", "3"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        whole_s = time.monotonic() - started
        study = optuna.load_study(
            study_name="served", storage=f"sqlite:///{folder}/served/study.db"
        )
        return sum(trial.user_attrs["train_seconds"] for trial in study.trials[1:]), whole_s


@contextlib.contextmanager
def page(runs: str) -> Iterator[None]:
    """The study's page, open in a browser and loaded."""
    words = [sys.executable, "-m", "dashboards", "--study", "served", "--runs", runs]
    words += ["--port", "0"]
    with (
        open_tab() as tab,
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as command,
    ):
        try:
            assert command.stdout is not None
            url = next(
                found[0] for line in command.stdout if (found := re.search(r"http://\S+", line))
            )
            tab.page.goto(url)
            tab.page.wait_for_selector(".js-plotly-plot", timeout=60_000)
            tab.page.wait_for_timeout(3000)
            yield
        finally:
            command.terminate()


if __name__ == "__main__":
    main()
