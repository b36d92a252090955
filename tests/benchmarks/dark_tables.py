"""The README's tables of the dark study beyond the first screen, from the stored results.

    python tests/benchmarks/dark_tables.py            # prints them python
    tests/benchmarks/dark_tables.py --write    # puts them into the README, between their two marks

tests/test_readme.py holds the README to them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from first_screen import PUBLISHED, RESULTS, SETS, longest, read, show

MARKS = (
    "<!-- made by tests/benchmarks/dark_tables.py from stored results -->",
    "<!-- until there -->",
)


def main() -> int:
    return show(__doc__, MARKS, text(RESULTS))


def text(results: Path) -> str:
    """All of them, from the files in `results`."""
    study, further, again = (
        read(results / f"dark_study{name}.json") for name in ("", "_further", "_again")
    )
    real = [
        read(results / f"dark_study_real_{name}.json") for name in ("before", "gentle", "long")
    ]
    return "\n\n".join(
        [
            "The found networks less each published one, mean over the seeds, PSNR in dB "
            "with its 95 % interval over pictures "
            "(**bold**: above zero):",
            against(study),
            "By seed, and by one training twice as long (the same recipe, seed 0):",
            twice(study, further),
            "The best network of each repeated search, by its PSNR there of those that "
            "are faster than MO (R1 to R3, of seeds 1 to 3), and "
            "one at a third of MO's latency (R1b, 25.58 dB there), trained and judged "
            "like the others:",
            against(again),
            real_words(real),
            with_real(real),
        ]
    )


def against(study: dict[str, Any]) -> str:
    """Differences from MO, M1 and M2 on both sets."""
    rows = [
        [
            "network",
            "times MO",
            *(f"minus {name}, {key}" for key in SETS for name in PUBLISHED),
            "SSIM minus MO, both",
        ]
    ]
    rows.append(["---"] * len(rows[0]))
    for one in longest(study):
        if one["name"] not in PUBLISHED:
            minus = [one[key]["minus"] for key in SETS]
            cells = [difference(told[name]["psnr_db"]) for told in minus for name in PUBLISHED]
            ssim = ", ".join(f"{told['MO']['ssim']['mean']:+.3f}" for told in minus)
            rows.append([one["name"], f"{one['ratio_to_mo']['value']:.2f}", *cells, ssim])
    return markdown(rows)


def twice(study: dict[str, Any], further: dict[str, Any]) -> str:
    """Each network's PSNR by seed, and where a training twice as long leads, on both sets."""
    by_name = {one["name"]: one for one in longest(further)}
    steps = [longest(told)[0]["steps"] for told in (study, further)]
    heads = [f"{key}, {count:,} steps" for key in SETS for count in steps]
    rows = [["network", *heads, "minus MO, both"], ["---"] * (2 + len(heads))]
    for one in longest(study):
        later, cells = by_name[one["name"]], [one["name"]]
        for key in SETS:
            cells += [
                ", ".join(f"{value:.2f}" for value in one[key]["psnr_db_by_seed"]),
                f"{later[key]['psnr_db']:.2f}",
            ]
        minus = [later[key]["minus"].get("MO") for key in SETS]
        rows.append([*cells, ", ".join(difference(told["psnr_db"]) for told in minus if told)])
    return markdown(rows)


def real_words(ways: list[dict[str, Any]]) -> str:
    one = longest(ways[0])[0]
    told = [
        f"{longest(way)[0]['steps']} steps at a rate of {way['recipe']['train.learning_rate']:g}"
        for way in ways[1:]
    ]
    return (
        f"With real pairs in training too: the same trainings, {one['seeds']} seeds each, "
        f"gone on with for {told[0]}, or for "
        f"{told[1]}, on the training list of the real crops, and judged on the "
        f"{one['real']['pictures']} of its test "
        "list:"
    )


def with_real(ways: list[dict[str, Any]]) -> str:
    """The second table: PSNR on the real test list by synthetic scenes alone, and after two ways
    of going on with real pairs.
    """
    heads = [
        "synthetic alone",
        *(f"and {longest(way)[0]['steps']} real steps" for way in ways[1:]),
    ]
    rows = [["network", *(cell for head in heads for cell in (head, "minus MO"))]]
    rows.append(["---"] * len(rows[0]))
    by_name = [{one["name"]: one["real"] for one in longest(way)} for way in ways]
    for name in by_name[1]:
        cells = [name]
        for way in by_name:
            minus = way[name]["minus"].get("MO")
            cells += [f"{way[name]['psnr_db']:.2f}", difference(minus["psnr_db"]) if minus else ""]
        rows.append(cells)
    return markdown(rows)


def difference(told: dict[str, float]) -> str:
    words = f"{told['mean']:+.2f} ({told['low']:+.2f} to {told['high']:+.2f})"
    return f"**{words}**" if told["low"] > 0 else words


def markdown(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
