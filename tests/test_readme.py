"""The README keeps its promises: two set-up commands, flags that exist, figures that were measured."""

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
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README) + re.findall(r"`(tests/[\w/.]+\.py)", README):
        assert (ROOT / target).exists(), target


def test_the_table_of_forms_is_the_stored_one():
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from deployed_forms import markdown

    assert markdown(json.loads((RESULTS / "deployed_forms_cpu.json").read_text())) in README


def test_the_table_is_the_stored_one():
    sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
    from default_run import table

    assert table(json.loads((RESULTS / "default_run.json").read_text())) in README


def test_the_replays_figures_are_the_stored_ones():
    told = json.loads((RESULTS / "search_replay.json").read_text())
    ours = told["reached"]["structure + stopping"]

    def cell(found):
        median, low, high = ("-" if found[key] is None else f"{found[key]:.2f}" for key in ("median", "low", "high"))
        return f"{median} ({low} to {high})"

    for name in ("random", "optuna default", "tpe", "nsga2", "random + stopping", "nsga2 + stopping", "tpe + stopping, informed",
                 "tpe + stopping, informed, fresh", "structure + stopping"):  # fmt: skip
        reached = told["reached"][name]
        assert f"| {reached['stopped']:.0%} | {cell(reached['random'])} | {cell(reached['optuna default'])} |" in README
    assert f"| {cell(ours['random'])} | {cell(ours['optuna default'])} |" in README
    assert f"the medians are {ours['random']['median']:.2f} and {ours['optuna default']['median']:.2f}" in README
    assert told["seeds"] == 30 and told["surrogate"]["networks"] == 97
    assert f"R² {told['surrogate']['psnr_r2']:.2f} for PSNR and {told['surrogate']['ratio_r2']:.2f} for latency" in README


def test_the_figures_of_the_hour_are_the_stored_ones():
    found = json.loads((RESULTS / "stopping_fronts.json").read_text())["searches"]
    on, off = found["on"], found["off"]
    assert f"it tried {on['networks']} networks ({on['stopped']} stopped) instead of {off['networks']}" in README
    assert f"hour of hypervolume ({off['hypervolume']:.1f})" in README and f"and ended at {on['hypervolume']:.1f}" in README
    assert f"{off['best_db']:.2f} dB" in README and f"against {on['best_db']:.2f}" in README
