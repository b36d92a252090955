"""One trial: data, training and scores of one network. Knows no Optuna and no plots.

Names are loaded here, once: `trials.train` is the function, not the module it lives in.
"""

from trials.baseline import amplified_only, amplified_psnr_db
from trials.config import DataConfig, LatencyConfig, TrainConfig, TrialConfig
from trials.dataset import load_data, load_pairs
from trials.estimates import LatencyRatio, Timing
from trials.keeper import Keeper, PreemptedError
from trials.latency import Latency, Measured, measure_against, measure_all, measure_latency
from trials.metrics import psnr_db, ssim
from trials.pairs import Pair, Progress, TrialData
from trials.raw import RawImage, read_raw
from trials.run import TrialResult, run_trial, train_to_the_end
from trials.rungs import RungScore, rung_steps
from trials.timing import time_network
from trials.train import ImageScore, TrainLog, evaluate, train

__all__ = [
    "DataConfig", "ImageScore", "Keeper", "Latency", "LatencyConfig", "LatencyRatio", "Measured", "Pair", "PreemptedError", "Progress",
    "RawImage", "RungScore", "Timing", "TrainConfig", "TrainLog", "TrialConfig", "TrialData", "TrialResult", "amplified_only",
    "amplified_psnr_db", "evaluate", "load_data", "load_pairs", "measure_against", "measure_all", "measure_latency",
    "psnr_db", "read_raw", "run_trial", "rung_steps", "ssim", "time_network", "train",
    "train_to_the_end",
]  # fmt: skip
