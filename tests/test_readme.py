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
