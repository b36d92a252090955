"""Training one network: the loop, the optimiser's step, rungs and checkpoints.

`import trials.training` loads no torch: what needs it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trials.training.checkpoints import Checkpointer
    from trials.training.log import TrainLog, write_curve
    from trials.training.loop import train

_LAZY = {
    "Checkpointer": "checkpoints",
    "TrainLog": "log",
    "train": "loop",
    "write_curve": "log",
}

__all__ = ["Checkpointer", "TrainLog", "train", "write_curve"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"trials.training.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'trials.training' has no attribute {name!r}")
