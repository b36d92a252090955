"""The README's tables of the dark study beyond the first screen, from the stored results.

    python tests/benchmarks/dark_tables.py            # prints them
    python tests/benchmarks/dark_tables.py --write    # puts them into the README, between their two marks

tests/test_readme.py holds the README to them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from first_screen import PUBLISHED, RESULTS, SETS, longest, read, show

MARKS = ("<!-- made by tests/benchmarks/dark_tables.py from stored results -->", "<!-- until there -->")


def main() -> int:
    return show(__doc__, MARKS, text(RESULTS))


def text(results: Path) -> str:
    """All of them, from the files in `results`."""
    study, further = read(results / "dark_study.json"), results / "dark_study_further.json"
    said = [
        "The found networks less each published one, mean over the seeds, PSNR in dB with its 95 % interval over pictures "
        "(**bold**: above zero):",
        against(study), "By seed, and by one training twice as long, where there is one (the same recipe, seed 0):",
        twice(study, read(further) if further.exists() else None),
    ]  # fmt: skip
    real = results / "dark_study_real.json"
    if real.exists():
        said += [real_words(read(real)), with_real(read(real))]
    return "\n\n".join(said)


def against(study: dict[str, Any]) -> str:
    """Differences from MO, M1 and M2 on both sets."""
    rows = [["network", *(f"minus {name}, {key}" for key in SETS for name in PUBLISHED)]]
    rows.append(["---"] * len(rows[0]))
    for one in longest(study):
        if one["name"] not in PUBLISHED:
            rows.append([one["name"], *(difference(one[key]["minus"][name]["psnr_db"]) for key in SETS for name in PUBLISHED)])
    return markdown(rows)


def twice(study: dict[str, Any], further: dict[str, Any] | None) -> str:
    """Each network's PSNR by seed, and where a training twice as long leads, on both sets."""
    by_name = {one["name"]: one for one in longest(further)} if further else {}
    steps = [longest(study)[0]["steps"], *{one["steps"] for one in by_name.values()}]
    heads = [f"{key}, {count:,} steps" for key in SETS for count in steps]
    rows = [["network", *heads], ["---"] * (1 + len(heads))]
    for one in longest(study):
        cells = [one["name"]]
        for key in SETS:
            cells.append(", ".join(f"{value:.2f}" for value in one[key]["psnr_db_by_seed"]))
            if by_name:
                cells.append(f"{by_name[one['name']][key]['psnr_db']:.2f}" if one["name"] in by_name else "-")
        rows.append(cells)
    return markdown(rows)


def real_words(real: dict[str, Any]) -> str:
    one = longest(real)[0]
    seeds = f"{one['seeds']} seed{'s' * (one['seeds'] > 1)}"
    return (f"With real pairs in training too: the same networks, {seeds}, trained on for {one['steps']} steps on the training list of "
            f"the real crops, and judged on the {one['real']['pictures']} of its test list:")  # fmt: skip


def with_real(real: dict[str, Any]) -> str:
    """The second table."""
    rows = [["network", "PSNR dB, real test list", "minus MO", "SSIM", "PSNR dB, synthetic"]]
    rows.append(["---"] * len(rows[0]))
    for one in longest(real):
        minus = one["real"]["minus"].get("MO")
        rows.append([one["name"], f"{one['real']['psnr_db']:.2f}", difference(minus["psnr_db"]) if minus else "",
                     f"{one['real']['ssim']:.3f}", f"{one['synthetic']['psnr_db']:.2f}"])  # fmt: skip
    return markdown(rows)


def difference(told: dict[str, float]) -> str:
    words = f"{told['mean']:+.2f} ({told['low']:+.2f} to {told['high']:+.2f})"
    return f"**{words}**" if told["low"] > 0 else words


def markdown(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
