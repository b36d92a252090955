"""Whether a search is slowed by its page being open and asking for news: the same short real
search, with and without.

example: python tests/benchmarks/served_search.py --pairs 4

Each pair is one search alone and one with `python -m dashboards` and a real Chromium on its page,
in an order that changes from pair to pair. Told are the ratios of their times of training, and of
the whole, with 95 % intervals over pairs. The target is at most 1.05.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "dashboards"))

import optuna
from browser import open_tab

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
# Student's t for 95 %, by pairs less one.
T95 = {1: 12.7, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    args = parser.parse_args()
    alone: list[tuple[float, float]] = []
    for pair in range(args.pairs):
        took = {}
        for open_page in (False, True) if pair % 2 == 0 else (True, False):
            took[open_page] = search(args.steps, open_page=open_page)
        alone.append((took[True][0] / took[False][0], took[True][1] / took[False][1]))
        for place, name in enumerate(("training", "whole")):
            print(
                f"pair {pair}, {name}: {took[False][place]:.1f} s alone, "
                f"{took[True][place]:.1f} s with the page open, ratio "
                f"{alone[-1][place]:.3f}",
                flush=True,
            )
    found = {
        name: interval([pair[place] for pair in alone])
        for place, name in enumerate(("training", "whole"))
    }
    for name, (ratio, low, high) in found.items():
        print(
            f"{name}: ratio {ratio:.3f} (95 % interval {low:.3f} to {high:.3f}) over "
            f"{len(alone)} pairs"
        )
    if args.json:
        told = {
            name: dict(zip(("ratio", "low", "high"), values, strict=True))
            for name, values in found.items()
        }
        args.json.write_text(json.dumps({**told, "pairs": len(alone), "steps": args.steps}) + "\n")


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Geometric mean with its 95 % interval."""
    logs = [math.log(ratio) for ratio in ratios]
    mean = statistics.mean(logs)
    half = (
        T95.get(len(logs) - 1, 2.0) * statistics.stdev(logs) / math.sqrt(len(logs))
        if len(logs) > 1
        else math.inf
    )
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


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
    words = [
        sys.executable,
        "-m",
        "dashboards",
        "--study",
        "served",
        "--runs",
        runs,
        "--port",
        "0",
    ]
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
