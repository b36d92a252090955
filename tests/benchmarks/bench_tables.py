"""The tables and figures of the benchmarks, for tables.py: each function makes the text of one
place in a README.md from the stored results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tables import interval, listed, markdown, paragraph, read, spelt

# The replay's rows: the name in the results, and in the table.
METHODS = {
    "random": "random",
    "optuna default": "Optuna's default (TPE)",
    "tpe": "multivariate TPE",
    "nsga2": "NSGA-II",
    "random + stopping": "random, with stopping",
    "nsga2 + stopping": "NSGA-II, with stopping",
    "optuna default + stopping": "Optuna's default, with stopping",
    "structure": "from structure (ten seeds)",
    "structure + stopping": "**from structure, with stopping: `auto`**",
}
GOALS = ("random", "optuna default")


def records(results: Path) -> str:
    """Every stored result: what it shows, when it was stored, at which commit, by which "
    "command."""
    rows = [
        [
            f"[{name}.json](results/{name}.json)",
            one["shows"],
            one["date"],
            one["commit"] or "",
            f"`{one['command']}`" if one["command"].startswith("python") else one["command"],
        ]
        for name, one in read(results, "records").items()
    ]
    return markdown(["result", "what it shows", "date", "commit", "command"], rows)


def forms(results: Path) -> str:
    """What the deployed form is worth, for MO on a CPU."""
    from deployed_forms import markdown as table

    return str(table(read(results, "deployed_forms_cpu")))


def default_run(results: Path) -> str:
    """MO, M1, M2 and the front of the default run."""
    from default_run import table

    return str(table(read(results, "default_run")))


def proxy(results: Path) -> str:
    """How well each rung orders the networks of the repeated searches."""
    studies = read(results, "proxy_of_dark_search_again")
    first = studies[0]
    rows = [
        [step, *(interval(one["tau"][step]["psnr_db"]) for one in studies)]
        for step in first["tau"]
        if int(step) < first["steps"]
    ]
    table = markdown(["rung, steps", *(f"seed {one['seed']}" for one in studies)], rows)
    return "\n\n".join(
        [
            table,
            paragraph(
                f"Kendall's tau of PSNR at a rung with PSNR after {first['steps']} steps, of "
                f"{first['networks']} networks of each of {len(studies)} searches under a latency "
                f"limit (`{first['command']}`). Most intervals reach 0: there the advice is "
                "`--stopping off`, as those searches had it."
            ),
        ]
    )


def replay(results: Path) -> str:
    """With which share of 100 trainings each way of searching gets where two others end."""
    found = read(results, "search_replay")
    rows = []
    for name, label in METHODS.items():
        reached = found["reached"][name]
        rows.append(
            [label, f"{reached['stopped']:.0%}", *(_share(reached[goal]) for goal in GOALS)]
        )
    heads = ["search", "stopped early", "training to random search's end", "to Optuna's default's"]
    surrogate = found["surrogate"]
    return "\n\n".join(
        [
            markdown(heads, rows),
            paragraph(
                f"Share of {found['budget']} whole trainings, median and quartiles of "
                f"{found['seeds']} seeds (-: more than half of the seeds, or a quarter, never got "
                f"there). The trainings are looked up in a table of "
                f"{surrogate['networks']:.0f} trained networks (search/table.json.gz); a Gaussian "
                f"process answers for all others (left-out R² {surrogate['psnr_r2']:.2f} for "
                f"PSNR, {surrogate['ratio_r2']:.2f} for latency)."
            ),
        ]
    )


def forest(results: Path) -> str:
    """The same by another surrogate."""
    found = read(results, "search_replay_forest")
    ours, surrogate = found["reached"]["structure + stopping"], found["surrogate"]
    return paragraph(
        f"By a second surrogate, a random forest on the genes (left-out R² "
        f"{surrogate['psnr_r2']:.2f} and {surrogate['ratio_r2']:.2f}, {ours['seeds']} seeds), "
        f"`auto` needs {listed(_share(ours[goal]) for goal in GOALS)}."
    )


def limited(results: Path) -> str:
    """What focusing on good pictures does under a latency limit."""
    found = read(results, "search_limited")
    return paragraph(
        f"Of {found['seeds']} replayed searches of {found['networks']} networks under a latency "
        f"limit, {found['focused']['found']} find a network better and faster than MO, "
        f"{found['plain']['found']} without that focus."
    )


def stopping(results: Path) -> str:
    """Two searches side by side, one with stopping."""
    found = read(results, "stopping_fronts")
    rows = []
    for way, name in (("on", "with stopping"), ("off", "without")):
        one = found["searches"][way]
        fast = max(net["psnr_db"] for net in one["front"] if net["ratio_to_mo"] <= 0.4)
        rows.append(
            [
                name,
                str(one["networks"]),
                str(one["stopped"]),
                f"{one['train_seconds']:,.0f} s",
                f"{one['hypervolume']:.1f}",
                f"{one['best_db']:.2f} dB",
                f"{fast:.2f} dB",
            ]
        )
    heads = ["search", "networks", "stopped", "training", "hypervolume", "best PSNR"]
    off = found["searches"]["off"]
    tau = off["tau"]
    taus = [listed(f"{value:.2f}" for value in tau[which]) for which in ("all", "best_half")]
    return "\n\n".join(
        [
            markdown([*heads, "best at 0.4 of MO's latency or less"], rows),
            paragraph(
                f"{found['minutes']:.0f} minutes each, one core each, one seed; MO: "
                f"{off['seeds']['MO'][0]:.2f} dB. Of the {tau['networks']} networks that were "
                f"trained to the end, Kendall's tau with the final PSNR was {taus[0]} at "
                f"{listed(str(step) for step in tau['steps'])} steps, but {taus[1]} over their "
                "better half."
            ),
        ]
    )


def scale(results: Path) -> str:
    """What a search itself costs as a study grows."""
    found = read(results, "scale")
    names = {"tpe": "TPE", "nsga2": "NSGA-II"}
    rows = []
    for row in found["growth"]:
        if row["sampler"] == "tpe" or row["finished"] >= 10_000:
            seconds = (
                f"{row['trial_cpu_ms'] / 1000:.2f} s",
                f"{row['by_label_cpu_ms']['sampling'] / 1000:.2f} s",
                f"{row['resume_cpu_ms'] / 1000:.1f} s",
            )
            rows.append([f"{row['finished']:,}", names[row["sampler"]], *seconds])
    (through,) = found["throughput"]
    heads = ["finished trials", "sampler", "a trial", "of it proposing", "a start of the search"]
    return "\n\n".join(
        [
            paragraph(
                f"{through['workers']} workers with trials of 2 s finished "
                f"{through['trials_per_s']:.1f} trials a second; "
                f"{through['shares']['waiting to ask']:.0%} of their time they waited for the "
                f"lock of the study, which a proposal holds for "
                f"{through['ask_lock_held_ms'] / 1000:.2f} s (PostgreSQL, two busy cores; "
                "processor time). For each trial the search itself takes"
            ).replace("%", " %"),
            markdown(heads, rows),
        ]
    )


def measured(results: Path) -> str:
    """Claims that a benchmark shows: the command, what was seen, and when."""
    stored = read(results, "records")
    spread, memory, report, served, soak, fuzz, steps, forms_cpu = (
        read(results, name)
        for name in (
            "ratio_spread",
            "restore_memory",
            "report_size",
            "served_search",
            "soak",
            "fuzz",
            "training_throughput",
            "deployed_forms_cpu",
        )
    )
    locked, free = spread["with the lock"], spread["without the lock"]
    largest = max(memory["rows"], key=lambda row: row["megapixels"])
    rows = [
        (
            "MO's published weights on twelve real Sony A7S2 crops (exposure ratio 100, float)",
            "python -m nas.evaluate --model MO --weights mo_checkpoint.pt --data SID --split all",
            f"{forms_cpu['psnr_db']['as trained']:.2f} dB",
            "deployed_forms_cpu",
        ),
        (
            f"{spelt(locked['processes'])} fresh processes agree on M1's latency in units of MO's "
            "while another process trains",
            stored["ratio_spread"]["command"],
            f"{locked['lowest']:.2f} to {locked['highest']:.2f}, a spread of "
            f"{100 * locked['spread']:.1f} % (milliseconds: {100 * locked['spread_ms']:.0f} %); "
            f"without the lock {100 * free['spread']:.0f} % "
            f"(milliseconds: {100 * free['spread_ms']:.0f} %)",
            "ratio_spread",
        ),
        (
            f"MO restores {largest['megapixels']} megapixels within 2 GiB, decoding and writing "
            "included",
            stored["restore_memory"]["command"],
            f"{largest['peak_mib']:,.0f} MiB",
            "restore_memory",
        ),
        (
            "A training step is faster than a plain loop (loader, eager, float32)",
            stored["training_throughput"]["command"],
            ", ".join(
                f"{name} {one['times_as_fast']:.2f} times ({one['low']:.2f} to {one['high']:.2f})"
                for name, one in steps["networks"].items()
            ),
            "training_throughput",
        ),
        (
            "The report of 2,000 trials is one small file",
            stored["report_size"]["command"],
            f"{report['seconds']:.1f} s, {report['megabytes']:.1f} MB",
            "report_size",
        ),
        (
            "A page that is open does not slow the search",
            stored["served_search"]["command"],
            "whole search {ratio:.2f} times as long ({low:.2f} to {high:.2f}) ".format(
                **served["whole"]
            )
            + f"over {served['pairs']} pairs",
            "served_search",
        ),
        (
            "Eight workers on PostgreSQL, killed and stopped at any moment: every finished "
            "network is there once, with whole files, nothing runs for ever, no network is "
            "trained by two at once",
            "python tests/benchmarks/soak/soak.py --kills 100, and with --machines 2 --seed 1",
            _soak(soak),
            "soak",
        ),
        (
            "Mutated genomes, configs, exports, lists, raw files and checkpoints are right or "
            "refused in one line, and touch no file outside their folder",
            stored["fuzz"]["command"],
            f"{fuzz['crashed_or_hung']} crashed or hung of {fuzz['cases']:,} "
            f"({fuzz['seconds']:.0f} s)",
            "fuzz",
        ),
    ]
    cells = [
        [claim, _code(command), found, f"{stored[name]['date']}, {stored[name]['commit']}"]
        for claim, command, found, name in rows
    ]
    cells += [
        [
            one["claim"],
            _code(one["command"]),
            one["seen"],
            f"{one['date']}, {one['commit']}, by hand",
        ]
        for one in read(results, "seen")
    ]
    return markdown(["claim", "shown by", "seen", "when"], cells)


def _soak(runs: list[dict[str, Any]]) -> str:
    figures = [run["figures"] for run in runs]
    keys = ("killed", "asked_to_end", "finished", "cut_in_training_and_taken_over")
    killed, stopped, finished, taken = (sum(one[key] for one in figures) for key in keys)
    mean = sum(one["lost_s_mean"] * one["cut_in_training_and_taken_over"] for one in figures)
    checks = [check for run in runs for check in run["checks"]]
    wrong = sum(bool(check["wrong"]) for check in checks)
    most = max(one["lost_s_most"] for one in figures)
    return (
        f"{len(checks) - wrong} of {len(checks)} checks hold: {finished} networks finished, "
        f"`kill -9` {killed} times, {stopped} asked to stop; {taken} taken over in training, "
        f"{mean / taken:.1f} s lost in the mean, {most:.1f} s at most (a checkpoint each second)"
    )


def _share(reached: dict[str, float | None]) -> str:
    median, low, high = (
        "-" if value is None else f"{value:.2f}"
        for value in (reached[key] for key in ("median", "low", "high"))
    )
    return f"{median} ({low} to {high})"


def _code(command: str) -> str:
    for join in (", and with ", ", then "):
        command = command.replace(join, f"`{join}`")
    return f"`{command}`"
