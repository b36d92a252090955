"""The README keeps its promises: two set-up commands, flags that exist, figures that were
measured.
"""

import json
import re
import sys
from pathlib import Path

import pytest
from help_texts import help_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "tests" / "benchmarks" / "results"
MODULES = sorted(set(re.findall(r"python -m ((?:nas|dashboards)\.\w+)", README)))


def test_there_are_exactly_two_set_up_commands():
    section = README.split("## Set up", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.S)
    assert len(blocks) == 2 and all(len(block.strip().splitlines()) == 1 for block in blocks)
    assert len(re.findall(r"```bash", README)) == 2


@pytest.mark.parametrize("module", MODULES)
def test_flags_in_the_readme_exist(module):
    said = help_of(module)
    for line in re.findall(rf"python -m {re.escape(module)}([^`\n#&]*)", README):
        for flag in re.findall(r"--[\w-]+", line):
            assert flag in said, f"{module} has no {flag}"


def test_linked_files_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README) + re.findall(
        r"`(tests/[\w/.]+\.py)", README
    ):
        assert (ROOT / target).exists(), target


def test_the_table_of_forms_is_the_stored_one():
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from deployed_forms import markdown

    assert markdown(json.loads((RESULTS / "deployed_forms_cpu.json").read_text())) in README


def test_the_first_screen_is_made_from_stored_results():
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from first_screen import MARKS, set_up, text

    screen = README.split("## What it does", 1)[0]
    made = screen.split(MARKS[0], 1)[1].split(MARKS[1], 1)[0]
    assert made.strip() == text(RESULTS)
    words = " ".join(screen.split())
    assert set_up(RESULTS) in words
    # Nor does any other figure stand there, but versions of Python, which pyproject.toml knows,
    # and what commands ask for.
    rest = words.replace(" ".join(made.split()), "").replace(set_up(RESULTS), "")
    rest = re.sub(r"```.*?```|`[^`]*`", "", rest)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.13"' in project
    assert re.findall(r"\d[\d.,]*\d|\d", rest) == ["3.11", "3.12"]


def test_the_dark_studys_tables_are_the_stored_ones():
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from dark_tables import MARKS, text

    made = README.split(MARKS[0], 1)[1].split(MARKS[1], 1)[0]
    assert made.strip() == text(RESULTS)


def test_the_dark_studys_words_are_the_stored_figures():
    first, second, longer = (
        json.loads((RESULTS / f"dark_search{name}.json").read_text())
        for name in ("_first", "", "_long")
    )
    words = " ".join(README.split())
    stage = next(row for row in second["importance"]["rows"] if row[0] == "4x stage")
    psnr, low, high, latency, latency_low, latency_high = (
        f"{100 * share:.0f}" for share in stage[1:]
    )
    assert f"{psnr} % ({low} to {high} %) of the variance of PSNR" in words
    assert f"{latency} % ({latency_low} to {latency_high} %) of latency's" in words
    networks = {one["trial"]: one for one in second["networks"]}
    f2, head = networks[60], networks[77]
    assert (
        f"led at 900 steps ({head['psnr_db']:.2f} dB against {f2['psnr_db']:.2f} for F2" in words
    )
    assert f"cost SSIM ({head['ssim']:.3f} against {f2['ssim']:.3f}" in words
    searches = (first, second, longer)
    total = (
        f"{' + '.join(str(one['finished']) for one in searches)} networks in "
        f"{sum(one['minutes'] for one in searches):.0f} minutes"
    )
    assert total in words
    seconds = sum(
        one["train_seconds"]
        for one in json.loads((RESULTS / "dark_study.json").read_text())["networks"]
    )
    assert f"{seconds / 60:.0f} minutes of one core for the eighteen trainings" in words


def test_the_proxys_figures_of_the_repeated_searches_are_the_stored_ones():
    told = json.loads((RESULTS / "proxy_of_dark_search_again.json").read_text())
    assert [(one["networks"], one["steps"]) for one in told] == [(10, 900)] * 3
    low, middle, high = (
        [f"{one['tau'][step]['psnr_db']['value']:.2f}" for one in told]
        for step in ("33", "100", "300")
    )
    words = " ".join(README.split())
    assert "tau with the final PSNR is {}, {} and {} at 33 steps".format(*low) in words
    assert "{}, {} and {} at 100, {}, {} and {} at 300".format(*middle, *high) in words


def test_the_figures_of_the_replay_under_a_limit_are_the_stored_ones():
    told = json.loads((RESULTS / "search_limited.json").read_text())
    focused, plain = (told[way]["found"] for way in ("focused", "plain"))
    said = (
        f"of {told['seeds']} other searches of {told['networks']} networks {focused} find "
        f"one, {plain} without the change"
    )
    assert said in " ".join(README.split())


@pytest.mark.parametrize("name", ["F1", "F2", "F3", "MO"])
def test_the_drawings_are_of_the_named_networks(name, tmp_path):
    from nas.describe import main

    shown = ROOT / "dashboards" / "pictures" / f"{name.lower()}.svg"
    assert main([name, "--drawing", str(tmp_path / "drawing.svg")]) == 0
    assert (tmp_path / "drawing.svg").read_text(encoding="utf-8") == shown.read_text(
        encoding="utf-8"
    )


def test_the_replays_figures_are_the_stored_ones():
    told = json.loads((RESULTS / "search_replay.json").read_text())
    ours = told["reached"]["structure + stopping"]

    def cell(found):
        median, low, high = (
            "-" if found[key] is None else f"{found[key]:.2f}" for key in ("median", "low", "high")
        )
        return f"{median} ({low} to {high})"

    for name in (
        "random",
        "optuna default",
        "tpe",
        "nsga2",
        "random + stopping",
        "nsga2 + stopping",
        "tpe + stopping, informed",
        "tpe + stopping, informed, fresh",
        "structure",
        "optuna default + stopping",
        "structure + stopping",
    ):
        reached = told["reached"][name]
        assert (
            f"| {reached['stopped']:.0%} | {cell(reached['random'])} | "
            f"{cell(reached['optuna default'])} |"
        ) in README
    assert f"| {cell(ours['random'])} | {cell(ours['optuna default'])} |" in README
    assert (
        f"the medians are {ours['random']['median']:.2f} and "
        f"{ours['optuna default']['median']:.2f}"
    ) in README
    assert told["seeds"] == 30 and told["surrogate"]["networks"] == 97
    assert (
        f"R² {told['surrogate']['psnr_r2']:.2f} for PSNR and "
        f"{told['surrogate']['ratio_r2']:.2f} for latency"
    ) in README


def test_the_second_truths_figures_are_the_stored_ones():
    told = json.loads((RESULTS / "search_replay_forest.json").read_text())
    ours = told["reached"]["structure + stopping"]
    cells = [
        "{median:.2f} ({low:.2f} to {high:.2f})".format(**ours[goal])
        for goal in ("random", "optuna default")
    ]
    assert " and ".join(cells) in README.replace("\n", " ") and ours["seeds"] == 10
    assert (
        f"R² {told['surrogate']['psnr_r2']:.2f} and {told['surrogate']['ratio_r2']:.2f}" in README
    )


def test_the_soaks_figures_are_the_stored_ones():
    runs = json.loads((RESULTS / "soak.json").read_text())
    assert all(not check["wrong"] and check["seen"] for run in runs for check in run["checks"])
    assert {len(run["checks"]) for run in runs} == {11} and "all 11 checks hold in both" in README
    figures = [run["figures"] for run in runs]
    total = {
        key: sum(one[key] for one in figures)
        for key in ("killed", "asked_to_end", "finished", "cut_in_training_and_taken_over")
    }
    lost = max(one["lost_s_most"] for one in figures)
    mean = (
        sum(one["lost_s_mean"] * one["cut_in_training_and_taken_over"] for one in figures)
        / total["cut_in_training_and_taken_over"]
    )
    assert f"(`kill -9`) {total['killed']} times in two soaks" in README
    assert f"and {total['asked_to_end']} times asked to stop" in README
    assert (
        f"{total['finished']} networks finished; "
        f"{total['cut_in_training_and_taken_over']} taken over in training"
    ) in README
    assert f"{mean:.1f} s lost in the mean, {lost:.1f} s at most" in README


def test_the_fuzzs_figures_are_the_stored_ones():
    told = json.loads((RESULTS / "fuzz.json").read_text())
    assert (
        f"{told['crashed_or_hung']} crashed or hung of {told['cases']:,}, in one run "
        f"({told['seconds']:.0f} s)"
    ) in README


def test_the_scales_figures_are_the_stored_ones():
    told = json.loads((RESULTS / "scale.json").read_text())
    for row in told["growth"]:
        name = {"tpe": "TPE", "nsga2": "NSGA-II"}[row["sampler"]]
        seconds = [row["trial_cpu_ms"], row["by_label_cpu_ms"]["sampling"], row["resume_cpu_ms"]]
        cells = [
            f"{row['finished']:,}",
            name,
            f"{seconds[0] / 1000:.2f} s",
            f"{seconds[1] / 1000:.2f} s",
            f"{seconds[2] / 1000:.1f} s",
        ]
        assert f"| {' | '.join(cells)} |" in README or (
            name == "NSGA-II" and row["finished"] < 10_000
        )
    (through,) = told["throughput"]
    assert f"told {through['trials_per_s']:.1f} trials a second" in README
    assert (
        f"{through['shares']['waiting to ask']:.0%}".replace("%", " %") + " of the time" in README
    )


def test_the_throughputs_figures_are_the_stored_ones():
    told = json.loads((RESULTS / "training_throughput.json").read_text())["networks"]
    for name, one in told.items():
        assert (
            f"{name} {one['times_as_fast']:.2f} times as fast ({one['low']:.2f} to "
            f"{one['high']:.2f})"
        ) in README


def test_the_figures_of_the_real_searches_are_the_stored_ones():
    told = json.loads((RESULTS / "stopping_fronts.json").read_text())
    assert f"--minutes {told['minutes']:.0f} " in README
    for way, name in (("on", "with stopping"), ("off", "without")):
        found = told["searches"][way]
        fast = max(one["psnr_db"] for one in found["front"] if one["ratio_to_mo"] <= 0.4)
        cells = [
            name,
            str(found["networks"]),
            str(found["stopped"]),
            f"{found['train_seconds']:,.0f} s",
            f"{found['hypervolume']:.1f}",
            f"{found['best_db']:.2f} dB",
            f"{fast:.2f} dB",
        ]
        assert f"| {' | '.join(cells)} |" in README
    off = told["searches"]["off"]
    assert f"(MO: {off['seeds']['MO'][0]:.2f} dB; one seed.)" in README
    for taus in (off["tau"]["all"], off["tau"]["best_half"]):
        assert "{:.2f}, {:.2f} and {:.2f}".format(*taus) in README
    assert "129 networks that were trained to the end" in README and off["tau"]["networks"] == 129
