"""One trial: data, training and scores of one network. Knows no Optuna and no plots.

Names are loaded here, once: `trials.training.loop` is the function, not the module it lives in.
"""

from trials.config import DataConfig, LatencyConfig, TrainConfig, TrialConfig
from trials.data import Pair, Progress, TrialData, load_data, load_pairs
from trials.latency.measure import Latency, Measured, measure_against, measure_all, measure_latency
from trials.latency.statistics import LatencyRatio, Timing
from trials.latency.trial_timing import time_network
from trials.raw import RawFrame, read_frame
from trials.scoring import (
    ImageScore,
    amplified_only,
    amplified_psnr_db,
    psnr_db,
    score_images,
    ssim,
)
from trials.training.checkpointer import Checkpointer, PreemptedError
from trials.training.loop import TrainLog, train
from trials.training.rungs import RungScore, rung_steps
from trials.trial import TrialResult, run_trial, train_to_the_end

__all__ = [
    "DataConfig",
    "ImageScore",
    "Checkpointer",
    "Latency",
    "LatencyConfig",
    "LatencyRatio",
    "Measured",
    "Pair",
    "PreemptedError",
    "Progress",
    "RawFrame",
    "RungScore",
    "Timing",
    "TrainConfig",
    "TrainLog",
    "TrialConfig",
    "TrialData",
    "TrialResult",
    "amplified_only",
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
    "time_network",
    "train",
    "train_to_the_end",
]
