"""One trial: data, latency, training and scores of one network. Knows no Optuna and no plots.

`import trials` loads no torch: what needs it is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trials.config import DataConfig, LatencyConfig, TrainConfig, TrialConfig
from trials.result import RungScore, TrialResult
from trials.training.rungs import FACTOR, Decide, rung_steps

if TYPE_CHECKING:
    from trials.data.dataset import load_data, load_pairs
    from trials.data.pair import Pair, Progress, TrialData
    from trials.latency.measure import Latency, measure_against, measure_all, measure_latency
    from trials.latency.statistics import LatencyRatio
    from trials.raw.reader import read_frame
    from trials.scoring.baseline import amplified_psnr_db
    from trials.scoring.images import ImageScore, score_images
    from trials.scoring.metrics import psnr_db, ssim
    from trials.training.checkpoints import Checkpointer, PreemptedError
    from trials.training.log import TrainLog
    from trials.training.loop import train
    from trials.trial import run_trial, train_to_the_end

_LAZY = {
    "data.dataset": ("load_data", "load_pairs"),
    "data.pair": ("Pair", "Progress", "TrialData"),
    "latency.measure": ("Latency", "measure_against", "measure_all", "measure_latency"),
    "latency.statistics": ("LatencyRatio",),
    "raw.reader": ("read_frame",),
    "scoring.baseline": ("amplified_psnr_db",),
    "scoring.images": ("ImageScore", "score_images"),
    "scoring.metrics": ("psnr_db", "ssim"),
    "training.checkpoints": ("Checkpointer", "PreemptedError"),
    "training.log": ("TrainLog",),
    "training.loop": ("train",),
    "trial": ("run_trial", "train_to_the_end"),
}
_MODULES = {name: module for module, names in _LAZY.items() for name in names}

__all__ = [
    "FACTOR",
    "Checkpointer",
    "DataConfig",
    "Decide",
    "ImageScore",
    "Latency",
    "LatencyConfig",
    "LatencyRatio",
    "Pair",
    "PreemptedError",
    "Progress",
    "RungScore",
    "TrainConfig",
    "TrainLog",
    "TrialConfig",
    "TrialData",
    "TrialResult",
    "amplified_psnr_db",
    "score_images",
    "load_data",
    "load_pairs",
    "measure_against",
    "measure_all",
    "measure_latency",
    "psnr_db",
    "read_frame",
    "run_trial",
    "rung_steps",
    "ssim",
    "train",
    "train_to_the_end",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"trials.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'trials' has no attribute {name!r}")
