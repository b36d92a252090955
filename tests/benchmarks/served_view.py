"""How long a study's page takes from being asked for to the Pareto points drawn, in a real
Chromium, by number of trials.

example: python tests/benchmarks/served_view.py --study many --runs /tmp/s5 --repeats 3

Each repeat starts the command anew (`python -m dashboards`), so nothing is kept from the one
before. Two times are told: the page's own, and the command's from its start to its address. The
target is 5 s for 2,000 trials on two cores.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "dashboards"))

from browser import open_tab

DRAWN = """() => { const plot = [...document.querySelectorAll('.js-plotly-plot')].find(p => p.id.includes('pareto'));
                   return plot ? plot.querySelectorAll('.point').length : 0; }"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--storage")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to keep the figures")
    args = parser.parse_args()
    words = [
        sys.executable,
        "-m",
        "dashboards",
        "--study",
        args.study,
        "--runs",
        str(args.runs),
        "--port",
        "0",
    ]
    words += ["--storage", args.storage] if args.storage else []
    seen = []
    for _ in range(args.repeats):
        seen.append(view(words))
        print(" ".join(f"{key} {value}" for key, value in seen[-1].items()), flush=True)
    for key in ("command_s", "page_s"):
        print(
            f"{key}: median {statistics.median(one[key] for one in seen):.2f}, at most "
            f"{max(one[key] for one in seen):.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps(seen, indent=1) + "\n")


def view(words: list[str]) -> dict[str, float]:
    """One look: seconds from the command to its address, and from the page's request to its
    points; how many of them.
    """
    with open_tab() as tab:
        started = time.monotonic()
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as command:
            try:
                assert command.stdout is not None
                url = next(
                    found[0]
                    for line in command.stdout
                    if (found := re.search(r"http://\S+", line))
                )
                command_s = time.monotonic() - started
                asked = time.monotonic()
                tab.page.goto(url, wait_until="commit")
                tab.page.wait_for_function(f"({DRAWN})() > 0", timeout=60_000, polling=20)
                page_s = time.monotonic() - asked
                points = tab.page.evaluate(DRAWN)
            finally:
                command.terminate()
    return {"points": points, "command_s": round(command_s, 2), "page_s": round(page_s, 2)}


if __name__ == "__main__":
    main()
