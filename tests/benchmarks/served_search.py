"""Whether a search is slowed by its page being open and asking for news: the same short real search, with and without.

example: python tests/benchmarks/served_search.py --pairs 4

Each pair is one search alone and one with `python -m dashboards` and a real Chromium on its page, in an order that changes from
pair to pair. Told is the ratio of their times with its 95 % interval over pairs. The target is at most 1.05.
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

from browser import open_tab  # noqa: E402

# Student's t for 95 %, by pairs less one.
T95 = {1: 12.7, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--trials", type=int, default=4)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    args = parser.parse_args()
    logs = []
    for pair in range(args.pairs):
        took = {}
        for open_page in (False, True) if pair % 2 == 0 else (True, False):
            took[open_page] = search(args.trials, args.steps, open_page=open_page)
        logs.append(math.log(took[True] / took[False]))
        print(f"pair {pair}: {took[False]:.1f} s alone, {took[True]:.1f} s with the page open, "
              f"ratio {math.exp(logs[-1]):.3f}", flush=True)  # fmt: skip
    mean = statistics.mean(logs)
    half = T95.get(len(logs) - 1, 2.0) * statistics.stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else math.inf
    low, high = math.exp(mean - half), math.exp(mean + half)
    print(f"ratio {math.exp(mean):.3f} (95 % interval {low:.3f} to {high:.3f}) over {len(logs)} pairs")
    if args.json:
        args.json.write_text(json.dumps({"ratio": math.exp(mean), "low": low, "high": high, "pairs": len(logs)}) + "\n")


def search(trials: int, steps: int, *, open_page: bool) -> float:
    """Seconds from the study's first trial to the search's end."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        base = [sys.executable, "-m", "nas.search", "--study", "dark", "--runs", folder, "--steps", str(steps)]
        # The first trial makes data and study; what is timed are those after it.
        subprocess.run([*base, "--trials", "1"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        if open_page:
            stack.enter_context(page(folder))
        started = time.monotonic()
        subprocess.run([*base, "--trials", str(1 + trials)], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return time.monotonic() - started


@contextlib.contextmanager
def page(runs: str) -> Iterator[None]:
    """The study's page, open in a browser and loaded."""
    words = [sys.executable, "-m", "dashboards", "--study", "dark", "--runs", runs, "--port", "0"]
    with open_tab() as tab, subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as command:
        try:
            assert command.stdout is not None
            url = next(found[0] for line in command.stdout if (found := re.search(r"http://\S+", line)))
            tab.page.goto(url)
            tab.page.wait_for_selector(".js-plotly-plot", timeout=60_000)
            tab.page.wait_for_timeout(3000)
            yield
        finally:
            command.terminate()


if __name__ == "__main__":
    main()
