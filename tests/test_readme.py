"""Every README.md keeps its promises: set-up commands, flags and files that exist, figures."""

import re
import sys
from pathlib import Path

import pytest
from help_texts import help_of

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
import tables

PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in tables.pages()}
FRONT = PAGES["README.md"]
COMMAND = re.compile(r"python -m ((?:nas|dashboards)(?:\.\w+)?)(?![\w.])([^`\n#&]*)")
FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
FILE = re.compile(
    r"(?<![\w/.])((?:space|trials|nas|dashboards|tests)/[\w/.-]*\w\.(?:py|toml|json|md))\b(?!\.\w)"
)
MODULES = sorted({module for text in PAGES.values() for module, _ in COMMAND.findall(text)})


def test_the_first_page_is_short():
    assert len(FRONT.splitlines()) <= 200
    first = " ".join(FRONT.splitlines()[:20])
    assert "earlier releases claimed for the winners was MO's slow training." in first


def test_there_are_exactly_two_set_up_commands():
    section = FRONT.split("## Set up", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.S)
    assert len(blocks) == 2 and all(len(block.strip().splitlines()) == 1 for block in blocks)
    assert len(re.findall(r"```bash", FRONT)) == 2


@pytest.mark.parametrize("module", MODULES)
def test_flags_in_the_pages_exist(module):
    known = set(FLAG.findall(help_of(module)))
    for page, text in PAGES.items():
        for name, words in COMMAND.findall(text):
            if name == module:
                unknown = set(FLAG.findall(words)) - known
                assert not unknown, f"{page}: {module} has no {unknown}"


def test_flags_in_prose_exist():
    known = {flag for module in MODULES for flag in FLAG.findall(help_of(module))}
    for page, text in PAGES.items():
        if page.startswith("tests/"):
            continue  # there they are also flags of benchmarks
        prose = re.sub(r"```.*?```", "", text, flags=re.S)
        prose = re.sub(r"`python (?:-m pytest|tests/)[^`]*`", "", prose)
        flags = {flag for code in re.findall(r"`[^`\n]*`", prose) for flag in FLAG.findall(code)}
        assert flags <= known, f"{page}: {flags - known}"


@pytest.mark.parametrize("page", PAGES)
def test_linked_files_exist(page):
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)#]+)\)", PAGES[page]):
        assert (folder / target).exists(), f"{page}: {target}"
    for path in FILE.findall(PAGES[page]):
        assert (ROOT / path).exists(), f"{page}: {path}"


@pytest.mark.parametrize("page", PAGES)
def test_the_figures_are_the_stored_ones(page):
    """Each is made by one function; `python tests/benchmarks/tables.py --write` makes them "
    "anew."""
    text = PAGES[page]
    assert text.count("<!-- made by ") == len(tables.BLOCK.findall(text))
    assert tables.refreshed(text) == text


def test_every_stored_result_is_listed():
    stored = {path.stem for path in tables.RESULTS.glob("*.json")} - {"records"}
    assert set(tables.read(tables.RESULTS, "records")) == stored


@pytest.mark.parametrize("name", ["F1", "F2", "F3", "MO"])
def test_the_drawings_are_of_the_named_networks(name, tmp_path):
    from nas.describe import main

    stored = ROOT / "dashboards" / "pictures" / f"{name.lower()}.svg"
    assert main([name, "--drawing", str(tmp_path / "drawing.svg")]) == 0
    assert (tmp_path / "drawing.svg").read_text(encoding="utf-8") == stored.read_text(
        encoding="utf-8"
    )
