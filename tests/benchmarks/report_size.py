"""Time and size of a large study's report: within 30 s and 12 MB for 2,000 trials.

The report is made as a user makes it, by the command in a fresh process; then a headless Chromium
(where there is one) opens it offline until all plots are drawn. The study is one made by
tests/benchmarks/many_trials.py, or any other.

    python tests/benchmarks/many_trials.py --trials 2000 --out /tmp/many
    python tests/benchmarks/report_size.py --study many --runs /tmp/many \\
        --json tests/benchmarks/results/report_size.json

On one CPU core: about a minute.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "dashboards"))
SECONDS, MEGABYTES = 30, 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", default="many")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="keep the report here")
    parser.add_argument("--json", type=Path, help="write what was found to this file too")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = args.out or Path(folder) / "report.html"
        started = time.perf_counter()
        words = ["-m", "dashboards.report", "--study", args.study, "--runs", args.runs]
        command = [sys.executable, *words, "--out", out]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        said = done.stdout.strip()
        seconds = time.perf_counter() - started
        found = {
            "said": said,
            "seconds": round(seconds, 2),
            "megabytes": round(out.stat().st_size / 1e6, 3),
            "processor": platform.processor() or platform.machine(),
            "cpus": os.cpu_count(),
            "opened_seconds": opened(out),
        }
    kept = found["seconds"] <= SECONDS and found["megabytes"] <= MEGABYTES
    print(
        f"{said}\n{found['seconds']} s of {SECONDS}, {found['megabytes']} MB of "
        f"{MEGABYTES}: {'kept' if kept else 'BROKEN'}; "
        f"all plots drawn by Chromium after {found['opened_seconds']} s"
    )
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def opened(path: Path) -> float | None:
    """Seconds until all plots of the page are drawn; None without Playwright and Chromium."""
    try:
        from browser import open_tab

        with open_tab(offline=True) as tab:
            started = time.perf_counter()
            tab.page.goto(path.resolve().as_uri())
            tab.page.wait_for_selector("html[data-ready=yes]", timeout=120_000)
            return round(time.perf_counter() - started, 2)
    except BaseException as error:  # pytest's skip is no Exception
        print(f"not opened: {error}", file=sys.stderr)
        return None


if __name__ == "__main__":
    main()
