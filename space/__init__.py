"""What can be built: genomes, the design space, named ones, their parts, and the networks.

`import space` loads no torch: what needs it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from space.blocks import count_blocks
from space.design import DesignSpace, Gene
from space.errors import InputError
from space.files.network_input import NetworkInput
from space.genome import Branch, Genome
from space.parts import Cost, Part, count_cost, network_parts
from space.presets import BASELINES, FOUND, ORIGINS, Found

if TYPE_CHECKING:
    from space.files.export_format import load_model
    from space.files.published_weights import load_reference_checkpoint
    from space.model import DarkUNet, build_model, fold, restore

_LAZY = {
    "DarkUNet": "model",
    "build_model": "model",
    "fold": "model",
    "restore": "model",
    "load_reference_checkpoint": "files.published_weights",
    "load_model": "files.export_format",
}

__all__ = [
    "BASELINES",
    "FOUND",
    "ORIGINS",
    "Branch",
    "Cost",
    "DarkUNet",
    "DesignSpace",
    "Found",
    "Gene",
    "Genome",
    "InputError",
    "NetworkInput",
    "Part",
    "build_model",
    "count_blocks",
    "count_cost",
    "fold",
    "load_model",
    "load_reference_checkpoint",
    "network_parts",
    "restore",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"space.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'space' has no attribute {name!r}")
