"""The doors between the packages are one-way: nas -> trials -> space, and dashboards read the
study only.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("space", "trials", "nas", "dashboards")
MAY_IMPORT = {
    "space": {"space"},
    "trials": {"trials", "space"},
    "nas": {"nas", "trials", "space"},
    "dashboards": {"dashboards"},
}
# What a package must not know, at whatever depth of its code.
NOT_FOR = {
    "space": {"optuna", "plotly", "rawpy", "rich"},
    "trials": {"optuna", "plotly", "rich"},
    "dashboards": {"torch"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module).split(".")[0]


@pytest.mark.parametrize("package", OURS)
def test_imports_go_one_way(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            assert name not in OURS or name in MAY_IMPORT[package], f"{path} imports {name}"
            assert name not in NOT_FOR.get(package, set()), f"{path} imports {name}"


def test_files_hold_one_idea():
    long = {
        str(p.relative_to(ROOT)): n
        for package in OURS
        for p in (ROOT / package).rglob("*.py")
        if (n := len(p.read_text(encoding="utf-8").splitlines())) > 320
    }
    assert long == {}


def test_no_file_is_a_drawer_of_odds_and_ends():
    vague = {"utils", "util", "common", "misc", "helpers"}
    assert [p for package in OURS for p in (ROOT / package).rglob("*.py") if p.stem in vague] == []
