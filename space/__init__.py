"""What can be built: genomes, the design space, the published seeds, found networks, and the networks themselves.

`import space` loads no torch: what needs it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from space.design import DesignSpace, Gene
from space.errors import InputError
from space.found import FOUND, Found
from space.genome import Branch, Genome
from space.seeds import SEED_FACTS, SEEDS, SeedFacts

if TYPE_CHECKING:
    from space.cost import Cost, count_cost
    from space.model import DarkUNet, build_model, fold, restore
    from space.reference import load_reference_checkpoint
    from space.saved import load_model

_NEEDS_TORCH = {
    "Cost": "cost",
    "count_cost": "cost",
    "DarkUNet": "model",
    "build_model": "model",
    "fold": "model",
    "restore": "model",
    "load_reference_checkpoint": "reference",
    "load_model": "saved",
}

__all__ = [
    "FOUND", "SEEDS", "SEED_FACTS", "Branch", "Cost", "DarkUNet", "DesignSpace", "Found", "Gene", "Genome", "InputError", "SeedFacts",
    "build_model", "count_cost", "fold", "load_model", "load_reference_checkpoint", "restore",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(import_module(f"space.{_NEEDS_TORCH[name]}"), name)
    raise AttributeError(f"module 'space' has no attribute {name!r}")
