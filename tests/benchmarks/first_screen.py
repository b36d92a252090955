"""The README's first screen: every figure of it, from the stored results, as the text that the
README holds.

    python tests/benchmarks/first_screen.py            # prints it python
    tests/benchmarks/first_screen.py --write    # puts it into the README, between its two marks

tests/test_readme.py holds the README to it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results"
MARKS = (
    "<!-- made by tests/benchmarks/first_screen.py from stored results -->",
    "<!-- until here -->",
)
PUBLISHED = ("MO", "M1", "M2")
SETS = ("synthetic", "real")


def main() -> int:
    return show(__doc__, MARKS, text(RESULTS))


def show(about: str | None, marks: tuple[str, str], made: str) -> int:
    """Prints what was made; with --write it also goes into the README, between its marks."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        readme = ROOT / "README.md"
        head, rest = readme.read_text(encoding="utf-8").split(marks[0])
        readme.write_text(
            f"{head}{marks[0]}\n{made}\n{marks[1]}{rest.split(marks[1])[1]}", encoding="utf-8"
        )
    print(made)
    return 0


def text(results: Path) -> str:
    """All of it, from the files in `results`."""
    names = (
        "dark_search_first",
        "dark_search",
        "dark_search_long",
        "dark_study",
        "dark_study_further",
    )
    first, search, longer, study, further = (read(results / f"{name}.json") for name in names)
    again = [read(path) for path in sorted(results.glob("dark_search_again_*.json"))]
    return "\n\n".join(
        [
            "![PSNR against latency of every network of one search, its front, MO, M1, M2 "
            "and the named winners]"
            "(dashboards/pictures/dark_search.svg)",
            *headline(study, further),
            table(study),
            how(first, search, longer, study),
            repeated([first, search], again),
        ]
    )


def set_up(results: Path) -> str:
    """How long the search of the first set-up command takes, in the words of the README's set-up
    section.
    """
    told = read(results / "default_run.json")
    return (
        f"(its {told['trials']} networks took {told['minutes']:.0f} minutes on "
        f"{told['machine']['cores']} cores)"
    )


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def longest(study: dict[str, Any]) -> list[dict[str, Any]]:
    """The networks of the longest trainings: the published ones, then the found ones from fast to
    slow.
    """
    steps = max(one["steps"] for one in study["networks"])
    rows = [one for one in study["networks"] if one["steps"] == steps]
    place = {name: index for index, name in enumerate(PUBLISHED)}
    return sorted(
        rows, key=lambda one: (place.get(one["name"], len(place)), one["ratio_to_mo"]["value"])
    )


def beats(one: dict[str, Any]) -> bool:
    """Whether a network's PSNR is above that of MO, M1 and M2 on both sets, each interval above
    zero.
    """
    return all(one[key]["minus"][name]["psnr_db"]["low"] > 0 for key in SETS for name in PUBLISHED)


def headline(study: dict[str, Any], further: dict[str, Any]) -> list[str]:
    """The best found network that beats all three at half of MO's latency, in one sentence; none
    where there is none.
    """
    found = [
        one
        for one in longest(study)
        if one["name"] not in PUBLISHED and beats(one) and one["ratio_to_mo"]["value"] <= 0.5
    ]
    if not found:
        return []
    best = max(found, key=lambda one: one["synthetic"]["psnr_db"])
    later = next(one for one in longest(further) if one["name"] == best["name"])
    gains, more = least_gains(best), least_gains(later)
    return [
        f"**{best['name']} takes {best['ratio_to_mo']['value']:.2f} of MO's time and "
        f"restores better than MO, M1 and M2: at least "
        f"{gains[0]:+.2f} dB on held-out synthetic scenes and {gains[1]:+.2f} dB on real "
        f"photos, all trained alike on synthetic "
        f"scenes for {best['steps']:,} steps** ({later['steps']:,} steps, one seed: "
        f"{more[0]:+.2f} and {more[1]:+.2f} dB)."
    ]


def least_gains(one: dict[str, Any]) -> list[float]:
    """Of a network over MO, M1 and M2, on each set, dB."""
    return [min(one[key]["minus"][name]["psnr_db"]["mean"] for name in PUBLISHED) for key in SETS]


def table(study: dict[str, Any]) -> str:
    """Markdown: a row for each network."""
    heads = [
        "network",
        "times MO",
        "PSNR dB, synthetic",
        "minus MO",
        "PSNR dB, real",
        "minus MO",
        "SSIM, both",
        "GMAC",
        "parameters M",
        "MiB",
    ]
    rows = [heads, ["---"] * len(heads)]
    for one in longest(study):
        ratio = one["ratio_to_mo"]
        cells = [f"**{one['name']}**" if one["name"] not in PUBLISHED else one["name"]]
        cells.append(
            "1"
            if one["name"] == "MO"
            else f"{ratio['value']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"
        )
        for key in SETS:
            minus = one[key]["minus"].get("MO", {}).get("psnr_db")
            cells.append(f"{one[key]['psnr_db']:.2f}")
            cells.append(
                f"{minus['mean']:+.2f} ({minus['low']:+.2f} to {minus['high']:+.2f})"
                if minus
                else ""
            )
        cells.append(f"{one['synthetic']['ssim']:.3f}, {one['real']['ssim']:.3f}")
        cells += [
            f"{one['macs'] / 1e9:.2f}",
            f"{one['parameters'] / 1e6:.2f}",
            f"{one['peak_memory_mib']:.0f}",
        ]
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def how(
    first: dict[str, Any], search: dict[str, Any], longer: dict[str, Any], study: dict[str, Any]
) -> str:
    """How the table came about."""
    rows = longest(study)
    one, machine = rows[0], search["machine"]
    queued = sum(one["queued"] for one in search["networks"])
    return (
        f"Two searches found them on {machine['cores']} cores of an {machine['device']}, "
        f"no GPU: {first['finished']} networks in "
        f"{first['minutes']:.0f} minutes, whose front lay at a bound of the space; then, "
        f"in a wider space and with {queued} of the "
        f"first's networks queued, {search['finished']} in {search['minutes']:.0f} "
        f"({search['complete']} trained for "
        f"{search['steps']} steps, the others over a limit of half of MO's latency); a "
        f"third, of {longer['finished']} longer "
        "trainings, settled which is F3. Then each network above was trained alike, from "
        f"scratch, on synthetic scenes only: {one['steps']:,} steps with "
        f"each of {one['seeds']} seeds. *Synthetic* are {study['judging']['scenes']} "
        f"scenes of another seed than any training's or "
        f"search's, *real* are {one['real']['pictures']} crops of four scenes from a Sony "
        f"A7S2; both judged, and chose none of these "
        "networks. (MO's published weights, trained for long on real photos, are better "
        "than all of these: see *Can the figures be "
        "trusted?*) In brackets: 95 % intervals, of PSNR paired by picture, of its mean "
        "over the seeds. SSIM is on both sets, MiB are "
        "a restoration's peak. Latency (float32, a 512 x 512 mosaic) and memory by "
        "`nas.bench`, in turn with MO. "
        "`python -m nas.describe F1` shows a winner, `python -m nas.retrain --genome F1` "
        "trains it on your data."
    )


def repeated(searches: list[dict[str, Any]], again: list[dict[str, Any]]) -> str:
    """What searches from a fresh clone showed, with other seeds and about a quarter of the
    networks and minutes.
    """
    networks, minutes = (sum(one[key] for one in searches) for key in ("finished", "minutes"))
    most, longest_min = (max(one[key] for one in again) for key in ("finished", "minutes"))
    won = [one for one in again if one["dominates_mo"]["first"]]
    found = [one["dominates_mo"] for one in won]
    best = [
        f"{best_faster(one)['psnr_db']:.2f} dB at {best_faster(one)['ratio_to_mo']:.2f} "
        f"of MO's latency (MO "
        f"{one['dominates_mo']['mo_psnr_db']:.2f} dB)"
        for one in won
    ]
    return (
        f"Repeated from a fresh clone with {len(again)} other seeds, nothing queued and "
        f"about a quarter of both searches' networks "
        f"and minutes ({most} of {networks}, {longest_min:.0f} of {minutes:.0f}), after a "
        f"first try had failed and the sampler was "
        f"mended (*Repeated*, below): {len(won)} of {len(again)} found networks better "
        f"and faster than MO in the same search"
    ) + (
        f", {listed(str(one['networks']) for one in found)} of them, the first after "
        f"{listed(minute(one) for one in found)} minutes. "
        f"The best: {listed(best)}."
        if won
        else "."
    )


def minute(found: dict[str, Any]) -> str:
    return f"{found['first']['minute']:.0f}"


def listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def best_faster(search: dict[str, Any]) -> dict[str, Any]:
    """The best network of a search of those that are faster than MO."""
    faster = [
        one
        for one in search["networks"]
        if one["kind"] == "complete" and one["ratio_to_mo"] < 1 and one["seed"] is None
    ]
    found: dict[str, Any] = max(faster, key=lambda one: one["psnr_db"])
    return found


if __name__ == "__main__":
    sys.exit(main())
