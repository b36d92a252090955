"""How long a study's page takes from its request to the Pareto points drawn, in a real Chromium.

example: python tests/benchmarks/served_view.py --study many --runs /tmp/s5 --repeats 3

Each repeat starts the command anew (`python -m dashboards`) and takes three times: the command's,
from its start to its address; then until the study's answer is cached; and the page's with that
cache. The target for the page is 5 s for 2,000 trials on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "dashboards"))

from browser import POINTS, open_tab

CACHED_S = 1.0  # a cached answer takes less


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--storage")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    words = [sys.executable, "-m", "dashboards", "--study", args.study]
    words += ["--runs", str(args.runs), "--port", "0"]
    words += ["--storage", args.storage] if args.storage else []
    views = []
    for _ in range(args.repeats):
        views.append(view(words))
        print(" ".join(f"{key} {value}" for key, value in views[-1].items()), flush=True)
    for key in ("command_s", "cached_s", "page_s"):
        values = [one[key] for one in views]
        print(f"{key}: median {statistics.median(values):.2f}, at most {max(values):.2f}")
    if args.json:
        args.json.write_text(json.dumps(views, indent=1) + "\n")


def view(words: list[str]) -> dict[str, float]:
    """One view: seconds until the address, the cached answer and the points; how many points."""
    with (
        open_tab() as tab,
        subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT) as command,
    ):
        try:
            marks = [time.monotonic()]
            assert command.stdout is not None
            lines = (re.search(r"http://\S+", line) for line in command.stdout)
            url = next(match[0] for match in lines if match)
            marks.append(time.monotonic())
            answer = url.replace("/dashboard/", "/api/") + "?after=0"
            seconds = CACHED_S
            while seconds >= CACHED_S:
                started = time.monotonic()
                urllib.request.urlopen(answer).read()
                seconds = time.monotonic() - started
            marks.append(time.monotonic())
            tab.page.goto(url, wait_until="commit")
            tab.page.wait_for_function(f"({POINTS})() > 0", timeout=60_000, polling=20)
            marks.append(time.monotonic())
            points = tab.page.evaluate(POINTS)
        finally:
            command.terminate()
    keys = ("command_s", "cached_s", "page_s")
    spans = (round(end - start, 2) for start, end in itertools.pairwise(marks))
    return {"points": points, **dict(zip(keys, spans, strict=True))}


if __name__ == "__main__":
    main()
