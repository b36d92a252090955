"""What can be built: genomes, the design space, the published seeds, found networks, and the
networks themselves.

`import space` loads no torch: what needs it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from space.design import DesignSpace, Gene
from space.errors import InputError
from space.found import FOUND, Found
from space.genome import Branch, Genome
from space.presets import BASELINE_FACTS, BASELINES, BaselineFacts

if TYPE_CHECKING:
    from space.cost import Cost, count_cost
    from space.export_format import load_model
    from space.model import DarkUNet, build_model, fold, restore
    from space.published_weights import load_reference_checkpoint

_NEEDS_TORCH = {
    "Cost": "cost",
    "count_cost": "cost",
    "DarkUNet": "model",
    "build_model": "model",
    "fold": "model",
    "restore": "model",
    "load_reference_checkpoint": "published_weights",
    "load_model": "export_format",
}

__all__ = [
    "FOUND",
    "BASELINES",
    "BASELINE_FACTS",
    "Branch",
    "Cost",
    "DarkUNet",
    "DesignSpace",
    "Found",
    "Gene",
    "Genome",
    "InputError",
    "BaselineFacts",
    "build_model",
    "count_cost",
    "fold",
    "load_model",
    "load_reference_checkpoint",
    "restore",
]


def __getattr__(name: str) -> Any:
    if name in _NEEDS_TORCH:
        return getattr(import_module(f"space.{_NEEDS_TORCH[name]}"), name)
    raise AttributeError(f"module 'space' has no attribute {name!r}")
