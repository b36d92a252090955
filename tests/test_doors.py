"""Imports go one way: between the packages, between their folders, and between files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("space", "trials", "nas", "dashboards")
MAY_IMPORT = {
    "space": {"space"},
    "trials": {"trials", "space"},
    "nas": {"nas", "trials", "space"},
    "dashboards": {"dashboards", "nas"},
}
# What a package must not know, at whatever depth of its code.
NOT_FOR = {
    "space": {"optuna", "plotly", "rawpy", "rich"},
    "trials": {"optuna", "plotly", "rich"},
    "dashboards": {"torch"},
}
# The floors of each package, from the top; a folder may import from floors below its own. A module
# at a package's top stands on the floor that bears its name, else on the first.
FLOORS = {
    "trials": [
        {"trial"},
        {"outputs", "preview"},
        {"training"},
        {"result"},
        {"scoring"},
        {"data"},
        {"raw", "latency"},
        {"device"},
        {"config", "files"},
    ],
    "nas": [
        {"commands"},
        {"workers", "training"},
        {"loop"},
        {"samplers", "outputs", "view"},
        {"study"},
        {"cli"},
    ],
    "dashboards": [{"commands"}, {"server", "page"}, {"plots"}, {"study"}],
}
MOST_FILES = 14


def module_of(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


FILES = {
    module_of(path): path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))
}


def imports(path):
    """Every module that the file imports, at any depth; of `from a import b` a.b, if a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in FILES else str(node.module)


def floor_of(module):
    package, _, rest = module.partition(".")
    part = rest.split(".")[0]
    for number, parts in enumerate(FLOORS[package]):
        if part in parts:
            return number, part
    return 0, part


@pytest.mark.parametrize("package", OURS)
def test_packages_import_one_way(package):
    for module, path in FILES.items():
        if module.split(".")[0] == package:
            for name in imports(path):
                top = name.split(".")[0]
                assert top not in OURS or top in MAY_IMPORT[package], f"{path} imports {name}"
                assert top not in NOT_FOR.get(package, set()), f"{path} imports {name}"
                if package == "dashboards" and top == "nas":
                    assert name.startswith("nas.study"), f"{path} imports {name}"


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_folders_import_one_way(package):
    wrong = []
    for module, path in FILES.items():
        if module.startswith(f"{package}."):
            here, part = floor_of(module)
            for name in imports(path):
                if name.startswith(f"{package}."):
                    there, other = floor_of(name)
                    if there < here or (there == here and other != part):
                        wrong.append(f"{module} imports {name}")
    assert wrong == []


def test_no_files_import_each_other_in_a_circle():
    graph = {
        module: {name for name in imports(path) if name in FILES and name != module}
        for module, path in FILES.items()
        if path.name != "__init__.py"
    }
    done: set[str] = set()

    def visit(module, trail):
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for name in sorted(graph.get(module, ())):
                visit(name, [*trail, module])
            done.add(module)

    for module in graph:
        visit(module, [])


def test_folders_stay_small():
    for folder in {path.parent for path in FILES.values()}:
        modules = list(folder.glob("*.py"))
        assert len(modules) <= MOST_FILES, f"{folder} has {len(modules)} files"
    for package, modules, folders in (("nas", 10, 9), ("trials", 7, 6)):
        inside = [path for path in (ROOT / package).iterdir() if path.name != "__pycache__"]
        assert len([path for path in inside if path.suffix == ".py"]) <= modules
        assert len([path for path in inside if path.is_dir()]) <= folders


def test_no_file_is_a_drawer_of_odds_and_ends():
    vague = {"utils", "util", "common", "misc", "helpers"}
    assert [path for path in FILES.values() if path.stem in vague] == []


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("space", {"torch"}),
        ("nas.study", {"torch", "rawpy"}),
        ("dashboards.report", {"torch", "rawpy", "trials"}),
    ],
)
def test_what_needs_no_torch_loads_none(module, never):
    program = f"import sys, {module}; print(*(name for name in {never!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
