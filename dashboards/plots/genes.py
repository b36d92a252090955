"""A network's genome as a flat row of genes, so that networks can be compared gene by gene.

The genome is the canonical one: genes that don't act on a network (the growth of a branch that
isn't there) are not in its row. What a sampler proposed for them would be noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Value = int | str
SCALES = (8, 16, 32, 64)
NOT_GENES = {"schema", "branches", "scale", "first_layers"}
OFF = "off"  # how a gene that doesn't act is written


def flat(genome: Mapping[str, Any]) -> dict[str, Value]:
    """The genes that act, by name ("32x blocks"): whole numbers and words; "4x stage" and for each
    scale "32x branch" are yes or no.

    The first dense block of a branch counts by whether it is shorter than the others, not by its
    own length.
    """
    branches = {branch["scale"]: branch for branch in genome.get("branches", ())}
    genes = {"4x stage": _value(bool(genome.get("fine_width")))}
    genes |= {f"{scale}x branch": _value(scale in branches) for scale in SCALES}
    for scale, branch in branches.items():
        genes |= _acting(branch, f"{scale}x ")
        first, layers = branch.get("first_layers"), branch.get("layers")
        if first is not None and layers is not None:
            genes[f"{scale}x shorter first block"] = _value(first < layers)
    return genes | _acting(genome)


def summary(genome: Mapping[str, Any]) -> dict[str, Value]:
    """A network's main figures: its scales, and how much there is of what."""
    branches = genome.get("branches", ())
    dense = [branch for branch in branches if branch.get("block") == "rdb"]
    return {
        "scales": "+".join(f"{branch['scale']}x" for branch in branches) or "trunk only",
        "branches": len(branches),
        "dense blocks": sum(branch.get("blocks", 0) for branch in dense),
        "dense layers": max((branch.get("layers") or 0 for branch in dense), default=0),
        "growth": max((branch.get("growth") or 0 for branch in dense), default=0),
        "skip width": genome.get("skip_width", 0),
        "fusion": genome.get("fusion") or OFF,
        "head": genome.get("head", OFF),
    }


def choices_of(rows: Sequence[Mapping[str, Value]], gene: str) -> list[Value]:
    """The choices of a gene that some row has, in order: numbers by size, then words."""
    choices = {row[gene] for row in rows if gene in row}
    numbers = sorted(choice for choice in choices if isinstance(choice, int))
    return [*numbers, *sorted(choice for choice in choices if isinstance(choice, str))]


def varying(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    """The genes with at least two choices among the rows, in the order of appearance."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if len(choices_of(rows, name)) > 1]


def _acting(genome: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    return {
        prefix + key.replace("_", " "): _value(value)
        for key, value in genome.items()
        if key not in NOT_GENES and value is not None
    }


def _value(value: Any) -> Value:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, int) else str(value)
