"""The tables and figures of every README.md, each made by one function from stored results.

    python tests/benchmarks/tables.py            # which there are, and whether as stored
    python tests/benchmarks/tables.py --write    # puts them all into their pages

A page holds `<!-- made by tests/benchmarks/dark_tables.py: winners -->`, the text, `<!-- end -->`:
there `dark_tables.winners(RESULTS)` made the text. tests/test_readme.py holds the pages to it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results"
BLOCK = re.compile(
    r"(?P<mark><!-- made by tests/benchmarks/(?P<script>\w+)\.py: (?P<name>\w+) -->\n)"
    r"(?P<text>.*?)\n?<!-- end -->",
    re.DOTALL,
)
END = "<!-- end -->"
LINE = 120


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if args.write:
            page.write_text(refreshed(text), encoding="utf-8")
        for block in BLOCK.finditer(text):
            state = "as stored" if block["text"] == made(block) else "differs"
            print(f"{page.relative_to(ROOT)}: {block['script']}.{block['name']}: {state}")
    return 0


def pages() -> list[Path]:
    """Every README.md of the repository, the first page first."""
    folders = ("space", "trials", "nas", "dashboards", "tests")
    below = [page for folder in folders for page in sorted((ROOT / folder).rglob("README.md"))]
    return [ROOT / "README.md", *below]


def refreshed(text: str) -> str:
    """A page's text with every block made anew."""
    return BLOCK.sub(lambda block: f"{block['mark']}{made(block)}\n{END}", text)


def made(block: re.Match[str]) -> str:
    """The text of a page's block, from the stored results."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    text: str = getattr(import_module(block["script"]), block["name"])(RESULTS)
    return text


def read(results: Path, name: str) -> Any:
    """A stored result."""
    return json.loads((results / f"{name}.json").read_text(encoding="utf-8"))


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def paragraph(words: str) -> str:
    """Words in lines of a page's width."""
    return textwrap.fill(words, LINE, break_long_words=False, break_on_hyphens=False)


def listed(words: Iterable[str]) -> str:
    """One, two and three."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def spelt(count: int) -> str:
    """A count as a sentence begins with it."""
    return {3: "Three", 8: "Eight", 10: "Ten", 12: "Twelve"}.get(count, str(count))


def interval(values: dict[str, float]) -> str:
    """A ratio or tau with its interval."""
    return f"{values['value']:.2f} ({values['low']:.2f} to {values['high']:.2f})"


def difference(values: dict[str, float], *, bold: bool = False) -> str:
    """A difference in dB with its interval; `bold`: where the whole interval is above zero."""
    words = f"{values['mean']:+.2f} ({values['low']:+.2f} to {values['high']:+.2f})"
    return f"**{words}**" if bold and values["low"] > 0 else words


def each(results: Path, pattern: str) -> Iterator[Any]:
    """The stored results whose names match, in their order."""
    return (read(results, path.stem) for path in sorted(results.glob(f"{pattern}.json")))


if __name__ == "__main__":
    sys.exit(main())
