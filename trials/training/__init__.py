"""Training one network: the loop, the optimiser's step, rungs and checkpoints.

What needs torch is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trials.training.rungs import FACTOR, Decide, rung_steps

if TYPE_CHECKING:
    from trials.training.checkpoints import Checkpointer, PreemptedError, TrialCheckpoint
    from trials.training.log import TrainLog, write_curve
    from trials.training.loop import train

_LAZY = {
    "Checkpointer": "checkpoints",
    "PreemptedError": "checkpoints",
    "TrainLog": "log",
    "TrialCheckpoint": "checkpoints",
    "train": "loop",
    "write_curve": "log",
}

__all__ = [
    "FACTOR",
    "Checkpointer",
    "Decide",
    "PreemptedError",
    "TrainLog",
    "TrialCheckpoint",
    "rung_steps",
    "train",
    "write_curve",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"trials.training.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'trials.training' has no attribute {name!r}")
