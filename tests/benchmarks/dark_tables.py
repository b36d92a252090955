"""The tables and figures of the dark study, for tables.py: each function makes the text of one
place in a README.md from the stored results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tables import difference, each, interval, listed, markdown, paragraph, read, spelt

PUBLISHED = ("MO", "M1", "M2")
WINNERS = ("F1", "F2", "F3")
SETS = ("synthetic", "real")


def winners(results: Path) -> str:
    """MO and the winners: latency, and the lead in PSNR."""
    study = read(results, "dark_study")
    rows = []
    for one in longest(study):
        if one["name"] == "MO":
            rows.append(["MO", "1", *(f"{one[key]['psnr_db']:.2f} dB" for key in SETS)])
        elif one["name"] in WINNERS:
            minus = [one[key]["minus"]["MO"]["psnr_db"] for key in SETS]
            rows.append([one["name"], interval(one["ratio_to_mo"]), *map(difference, minus)])
    one = longest(study)[0]
    return "\n\n".join(
        [
            markdown(
                ["network", "times MO", "PSNR, synthetic: minus MO", "PSNR, real: minus MO"], rows
            ),
            paragraph(
                f"Trained from scratch with {one['seeds']} seeds, on synthetic scenes only; "
                f"scored on {study['judging']['scenes']} other synthetic scenes and "
                f"{one['real']['pictures']} real crops of four scenes. In brackets 95 % "
                f"intervals. Latency on {study['machine']['cores']} cores of an "
                f"{study['machine']['device']}, float32, a 512 x 512 mosaic. The plot is the "
                "search that found F2; all by the recipe of the earlier releases. Every other "
                "table: "
                "[tests/benchmarks](tests/benchmarks/README.md)."
            ),
        ]
    )


def set_up(results: Path) -> str:
    """How long the first set-up command takes."""
    run = read(results, "default_run")
    return paragraph(
        f"Its {run['trials']} networks took {run['minutes']:.0f} minutes on "
        f"{run['machine']['cores']} cores. For a first taste add `--trials 4 --steps 30 --runs "
        "taste`: after 30 steps it shows how all works, not good pictures. The second "
        "command installs and runs the tests:"
    )


def trust(results: Path) -> str:
    """How far the winners' figures go, as a list."""
    study = {one["name"]: one for one in longest(read(results, "dark_study"))}
    other = read(results, "recipes")
    published = read(results, "deployed_forms_cpu")["psnr_db"]["as trained"]
    ranking = other["ranking_after_450_steps"]
    few, more = ranking["12"], ranking["48"]
    bullets = [
        "**The winners were found by the earlier recipe**, which ranked networks by how fast they "
        "learn. A search by today's may find others.",
        f"**Few held-out scenes choose badly.** {spelt(ranking['networks'])} networks near a "
        f"front, ranked after 450 steps as after 1,500: Kendall's tau {few['tau'][0]} to "
        f"{few['tau'][1]} with 12 scenes, {more['tau'][0]} to {more['tau'][1]} with 48 (*), which "
        "a trial has now. Let finalists meet in `--study dark-long`.",
        "**These are short trainings.** MO's published weights, trained for long on real photos, "
        f"score {published:.2f} dB on the real crops, F2 {study['F2']['real']['psnr_db']:.2f}. "
        "Train a winner for long, on your own pairs.",
        "**Colour** is measured now (`nas.evaluate --data chart`), and still not right after a "
        "short training: magentas are pale.",
        "**Latency is of one device.** Nothing has run on a GPU yet, and a CPU's figures say "
        "nothing about one. Compare networks within one run, by their ratio to MO.",
    ]
    lines = [paragraph(f"- {one}").replace("\n", "\n  ") for one in bullets]
    return "\n".join([*lines, "", "(*) Measured by us outside of this release."])


def networks(results: Path) -> str:
    """The winners and the published networks, with all their figures."""
    study = read(results, "dark_study")
    one = longest(study)[0]
    minutes = sum(row["train_seconds"] for row in study["networks"]) / 60
    return "\n\n".join(
        [
            networks_table(study),
            paragraph(
                f"{one['steps']:,} steps with each of {one['seeds']} seeds, from scratch, on "
                f"synthetic scenes only. *Synthetic* are {study['judging']['scenes']} scenes of "
                f"another seed than any training's or search's, *real* {one['real']['pictures']} "
                "crops of four scenes from a Sony A7S2; both judged, and chose none of these "
                "networks. In brackets 95 % intervals, of PSNR paired by picture, of its mean "
                "over the seeds. MiB are a restoration's peak. Latency (float32, a 512 x 512 "
                "mosaic) and memory by `nas.bench`, in turn with MO. All trainings together took "
                f"{minutes:.0f} minutes of one core."
            ),
        ]
    )


def networks_table(study: dict[str, Any]) -> str:
    """A table of what dark_study.py wrote: a row for each network."""
    heads = ["network", "times MO", "PSNR dB, synthetic", "minus MO", "PSNR dB, real", "minus MO"]
    heads += ["SSIM, both", "GMAC", "parameters M", "MiB"]
    rows = []
    for one in longest(study):
        cells = [f"**{one['name']}**" if one["name"] not in PUBLISHED else one["name"]]
        cells.append("1" if one["name"] == "MO" else interval(one["ratio_to_mo"]))
        for key in SETS:
            minus = one[key]["minus"].get("MO")
            cells.append(f"{one[key]['psnr_db']:.2f}")
            cells.append(difference(minus["psnr_db"]) if minus else "")
        cells.append(f"{one['synthetic']['ssim']:.3f}, {one['real']['ssim']:.3f}")
        cells += [f"{one['macs'] / 1e9:.2f}", f"{one['parameters'] / 1e6:.2f}"]
        rows.append([*cells, f"{one['peak_memory_mib']:.0f}"])
    return markdown(heads, rows)


def against(results: Path) -> str:
    """The winners less each published network."""
    return against_table(read(results, "dark_study"))


def against_table(study: dict[str, Any]) -> str:
    """Differences from MO, M1 and M2 on both sets, for each network that is none of them."""
    heads = [
        "network",
        "times MO",
        *(f"minus {name}, {key}" for key in SETS for name in PUBLISHED),
    ]
    rows = []
    for one in longest(study):
        if one["name"] not in PUBLISHED:
            minus = [one[key]["minus"] for key in SETS]
            cells = [
                difference(theirs[name]["psnr_db"], bold=True)
                for theirs in minus
                for name in PUBLISHED
            ]
            ssim = ", ".join(f"{theirs['MO']['ssim']['mean']:+.3f}" for theirs in minus)
            rows.append([one["name"], f"{one['ratio_to_mo']['value']:.2f}", *cells, ssim])
    return markdown([*heads, "SSIM minus MO, both"], rows)


def twice(results: Path) -> str:
    """Each network's PSNR by seed, and where a training twice as long leads, on both sets."""
    study, further = read(results, "dark_study"), read(results, "dark_study_further")
    by_name = {one["name"]: one for one in longest(further)}
    steps = [longest(which)[0]["steps"] for which in (study, further)]
    heads = [f"{key}, {count:,} steps" for key in SETS for count in steps]
    rows = []
    for one in longest(study):
        later, cells = by_name[one["name"]], [one["name"]]
        for key in SETS:
            by_seed = ", ".join(f"{value:.2f}" for value in one[key]["psnr_db_by_seed"])
            cells += [by_seed, f"{later[key]['psnr_db']:.2f}"]
        minus = [later[key]["minus"].get("MO") for key in SETS]
        leads = [difference(lead["psnr_db"], bold=True) for lead in minus if lead]
        rows.append([*cells, ", ".join(leads)])
    return markdown(["network", *heads, "minus MO, both"], rows)


def real_pairs(results: Path) -> str:
    """PSNR on the real test list by synthetic scenes alone, and after two ways of going on with
    real pairs.
    """
    ways = [read(results, f"dark_study_real_{name}") for name in ("before", "gentle", "long")]
    heads = ["network"]
    for way, name in zip(
        ways,
        ["synthetic alone", *(f"and {longest(way)[0]['steps']} real steps" for way in ways[1:])],
        strict=True,
    ):
        rate = way["recipe"]["train.learning_rate"]
        heads += [name if way is ways[0] else f"{name}, rate {rate:g}", "minus MO"]
    by_name = [{one["name"]: one["real"] for one in longest(way)} for way in ways]
    rows = []
    for name in by_name[1]:
        cells = [name]
        for way in by_name:
            minus = way[name]["minus"].get("MO")
            found = difference(minus["psnr_db"], bold=True) if minus else ""
            cells += [f"{way[name]['psnr_db']:.2f}", found]
        rows.append(cells)
    return markdown(heads, rows)


def searches(results: Path) -> str:
    """What each search of the study cost and found."""
    names = {
        "first": "_first",
        "second": "",
        "third": "_long",
        **{f"repeated, seed {seed}": f"_again_{seed}" for seed in (1, 2, 3)},
    }
    rows = []
    for label, name in names.items():
        one = read(results, f"dark_search{name}")
        found, best = one["dominates_mo"], best_faster(one)
        rows.append(
            [
                label,
                f"{one['steps']:,}",
                f"{one['finished']} ({one['complete']} trained)",
                f"{one['minutes']:.0f}",
                f"{found['mo_psnr_db']:.2f}",
                str(found["networks"]),
                f"{found['first']['minute']:.0f}" if found["first"] else "-",
                f"{best['psnr_db']:.2f} dB at {best['ratio_to_mo']:.2f}",
            ]
        )
    heads = ["search", "steps", "networks", "minutes", "MO dB", "better and faster than MO"]
    return markdown([*heads, "the first after min", "best that is faster than MO"], rows)


def again(results: Path) -> str:
    """The best networks of the repeated searches, trained like the winners."""
    return against_table(read(results, "dark_study_again"))


def learnt(results: Path) -> str:
    """How much the stage at 4x goes with, and what a head that adds costs, in the second "
    "search."""
    search = read(results, "dark_search")
    stage = next(row for row in search["importance"]["rows"] if row[0] == "4x stage")
    psnr, low, high, latency, latency_low, latency_high = (
        f"{100 * share:.0f}" for share in stage[1:]
    )
    by_trial = {one["trial"]: one for one in search["networks"]}
    f2, head = by_trial[60], by_trial[77]
    fine = [
        str(best_faster(one)["genome"].get("fine_width", 0))
        for one in each(results, "dark_search_again_*")
    ]
    bullets = [
        "**The way back up matters most.** The published networks go from 8x to 2x at once, by "
        "one 3x3 that makes 192 channels. A stage at 4x in between, without blocks of its own, is "
        f"in every winner. Its being there goes with {psnr} % ({low} to {high} %) of the variance "
        f"of PSNR among the {search['complete']} trained networks of the second search, and with "
        f"{latency} % ({latency_low} to {latency_high} %) of latency's (a forest on the genes; "
        "the search chose what to try, so these are observations).",
        f"**Other seeds find the same kind.** The best networks of the {len(fine)} repeated "
        f"searches have the stage at 4x ({listed(fine)} channels), no branch, and a trunk of "
        "re-parametrised blocks.",
        "**A head that adds a convolution of the dark mosaic** led after 900 steps "
        f"({head['psnr_db']:.2f} dB against {f2['psnr_db']:.2f} for F2, at the same latency) and "
        f"cost SSIM ({head['ssim']:.3f} against {f2['ssim']:.3f}): what it adds is noisy. F1 to "
        "F3 have none.",
    ]
    return "\n".join(paragraph(f"- {one}").replace("\n", "\n  ") for one in bullets)


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


def best_faster(search: dict[str, Any]) -> dict[str, Any]:
    """The best network of a search of those that are faster than MO."""
    faster = [
        one
        for one in search["networks"]
        if one["kind"] == "complete" and one["ratio_to_mo"] < 1 and one["seed"] is None
    ]
    found: dict[str, Any] = max(faster, key=lambda one: one["psnr_db"])
    return found


def _maybe_interval(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:+.2f}"
    return "{:+.2f} ({:+.2f} to {:+.2f})".format(*values)
