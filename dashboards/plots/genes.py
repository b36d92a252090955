"""A network's genome as a flat row of genes, so that networks can be compared gene by gene.

The genome is the canonical one: genes that don't act on a network (the growth of a branch that
isn't there) are None in its row. What a sampler proposed for them would be noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Value = int | str
SCALES = (8, 16, 32, 64)
NOT_GENES = {"schema", "branches", "scale", "first_layers"}
BELOW = "off"  # how a gene that doesn't act is written


def flat(genome: Mapping[str, Any]) -> dict[str, Value]:
    """The genes that act, by name ("32x blocks"): whole numbers and words; "4x stage" and for each
    scale "32x branch" are yes or no.

    The first dense block of a branch counts by whether it is shorter than the others, not by its
    own length.
    """
    branches = {branch["scale"]: branch for branch in genome.get("branches", ())}
    genes: dict[str, Value] = {"4x stage": "yes" if genome.get("fine_width") else "no"}
    genes |= {f"{scale}x branch": "yes" if scale in branches else "no" for scale in SCALES}
    for scale, branch in branches.items():
        genes |= {
            f"{scale}x {_words(key)}": _value(value)
            for key, value in branch.items()
            if _acts(key, value)
        }
        if branch.get("first_layers") is not None and branch.get("layers") is not None:
            genes[f"{scale}x shorter first block"] = _value(
                branch["first_layers"] < branch["layers"]
            )
    return genes | {
        _words(key): _value(value) for key, value in genome.items() if _acts(key, value)
    }


def summary(genome: Mapping[str, Any]) -> dict[str, Value]:
    """What a person would tell of a network first: its scales, and how much there is of what."""
    branches = genome.get("branches", ())
    dense = [branch for branch in branches if branch.get("block") == "rdb"]
    return {
        "scales": "+".join(f"{branch['scale']}x" for branch in branches) or "trunk only",
        "branches": len(branches),
        "dense blocks": sum(branch.get("blocks", 0) for branch in dense),
        "dense layers": max((branch.get("layers") or 0 for branch in dense), default=0),
        "growth": max((branch.get("growth") or 0 for branch in dense), default=0),
        "skip width": genome.get("skip_width", 0),
        "fusion": genome.get("fusion") or BELOW,
        "head": genome.get("head", BELOW),
    }


def levels(rows: Sequence[Mapping[str, Value]], gene: str) -> list[Value]:
    """The choices of a gene that some row has, in order: numbers by size, words by alphabet."""
    found = {row[gene] for row in rows if gene in row}
    return sorted(
        found,
        key=lambda value: (
            isinstance(value, str),
            value if isinstance(value, int) else 0,
            str(value),
        ),
    )


def varying(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    """The genes with at least two choices among the rows, in the order in which they first come."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len({row[name] for row in rows if name in row}) > 1]


def _words(key: str) -> str:
    return key.replace("_", " ")


def _value(value: Any) -> Value:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, int) else str(value)


def _acts(key: str, value: Any) -> bool:
    return key not in NOT_GENES and value is not None
