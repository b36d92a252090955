"""The settings of a trial: frozen, each with its unit and the reason for its default."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from space import NetworkInput

COLOURS = ("natural", "grey")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The pairs that a network is trained and scored on; most settings are of synthetic data."""

    source: str | Path = "synthetic"
    """"synthetic", or a folder in SID's layout."""
    white_balanced_input: bool = True
    """Multiply the mosaic by the camera's white balance, which every raw file holds: a network
    that need not guess it makes no colour cast. The published MO weights want False.
    """
    black_corrected_input: bool = True
    """Subtract the calibrated error of the camera's black level at the photo's ISO, where one is
    known (trials/raw/sensors). The published weights want False.
    """
    sensor: str = "sony_a7s2"
    """Synthetic: the calibrated sensor, a file in trials/raw/sensors."""
    scenes: int = 192
    """Synthetic: training scenes, made in ten seconds on two CPU cores; every sample has new
    noise, exposure and crop. 64 gave 0.3 dB less on real photos after 600 steps.
    """
    scene_size: int = 256
    """Synthetic: side of a scene in pixels; many small ones teach more than few large ones."""
    colours: str = "natural"
    """Synthetic: natural (surfaces and lamps by published figures), or grey, as it once was."""
    held_out: int = 48
    """Held-out pairs: scenes of their own, or at most so many real ones, spread evenly. Twelve
    scenes chose a network 0.24 dB short of the best of twelve, 48 one 0 to 0.14 dB short.
    """
    iso_min: int = 50
    iso_max: int = 25600
    """Synthetic: range of ISO values, the calibrated one of the default sensor."""
    ratio_min: float = 100.0
    ratio_max: float = 300.0
    """Synthetic: exposure ratios long / short (log-uniform); SID's are 100, 250 and 300."""
    dim_share: float = 0.2
    """Synthetic: share of training samples at less, ratios from 1 to `ratio_min` (log-uniform), so
    that a photo that is only dim is not turned grey. Held-out pairs have none.
    """
    uncalibrated_share: float = 0.2
    """Synthetic: share of training samples whose black level's error stays in, so that photos of a
    camera without a calibration are restored too. Held-out pairs have none.
    """
    photos: str | Path | None = None
    """Synthetic: a folder of well-exposed photos that become scenes too; None: no photos."""
    photo_share: float = 0.5
    """Synthetic: share of the crops that photos give, and of the held-out pairs (all but two)."""
    photo_scenes: int = 192
    """Synthetic: most training scenes of photos, as many of one as of another, at most 16."""
    seed: int = 0
    """Fixes the scenes and the held-out pairs."""

    @property
    def network_input(self) -> NetworkInput:
        """What a network that is trained on it gets."""
        return NetworkInput(self.white_balanced_input, self.black_corrected_input)

    def for_input(self, network_input: NetworkInput) -> DataConfig:
        """The same data for a network that wants another input."""
        return replace(
            self,
            white_balanced_input=network_input.white_balanced,
            black_corrected_input=network_input.black_corrected,
        )


OPTIMIZERS = ("muon", "adam")
LOSSES = ("rmse", "l1")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The recipe of a training; the same for every genome."""

    steps: int = 450
    """Optimiser steps; MO does them in about half a minute on two CPU cores."""
    batch: int = 8
    """Crops per step."""
    crop: int = 128
    """Side of a crop in mosaic pixels: even, a multiple of the network's size multiple."""
    optimizer: str = "muon"
    """muon: Muon for the convolutions' weights and Adam for the rest; adam: Adam for all."""
    learning_rate: float = 1.4e-2
    """The rate, of Muon and Adam alike, after warm-up and until the cool-down. Where all is
    Adam's, a few thousandths are right.
    """
    warmup_steps: int = 20
    """Steps over which the rate rises from zero, linearly."""
    cooldown: float = 0.2
    """Last part of a training, over which the rate falls to zero, linearly: of a rung's too. Until
    there a training does not depend on its length, so it can be gone on with.
    """
    grad_clip: float = 0.1
    """Largest norm of the gradient, so that no step can spoil much; MO's is mostly 0.1 to 0.5."""
    ema_decay: float = 0.99
    """Decay per step of the averaged weights; it ramps up from zero, for short runs."""
    loss: str = "rmse"
    """rmse: the root of a crop's mean squared error, the mean over crops; l1: mean error."""
    ms_ssim_weight: float = 0.0
    """Share of 1 - MS-SSIM in the loss."""
    first_rung: int | None = None
    """Step of the first rung (training/rungs.py); None: a 27th of all steps, at least 10."""
    dtype: str = "auto"
    """Of the forward pass alone: float32, bfloat16, or auto: bfloat16 where the device has it."""


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """How the deployed network is timed."""

    height: int | None = None
    """Mosaic rows, rounded up to the network's multiple; None: 2848 (as SID), on a CPU 512."""
    width: int | None = None
    """Mosaic columns, likewise; None: 4256, on a CPU 512, as a whole frame takes seconds there."""
    dtype: str = "float32"
    """float32, float16 or bfloat16: of weights and mosaic alike."""
    memory_format: str = "channels_last"
    """channels_last, contiguous, or auto: the faster one for each network. On two CPU cores
    channels_last takes 0.86 to 0.93 of the time of contiguous (MO, M1, M2; float32).
    """
    runtime: str = "auto"
    """One of trials/latency/runtimes.py, or auto: cuda_graph on a GPU, eager on a CPU."""
    threads: int | None = None
    """CPU threads; None: as many as torch uses here. Recorded with every result."""
    warmup_runs: int = 5
    """Runs in a round of warm-up, which ends when two agree to 2 %, or after max_seconds / 4."""
    min_runs: int = 50
    """Fewest timed runs."""
    precision: float = 0.01
    """Timing ends when the 95 % intervals of median and ratio are narrower than this share."""
    max_seconds: float = 5.0
    """Longest time of one try, which then ends after `min_runs` with the precision it has. There
    are up to three tries where the ratio is not known to `precision`, or (outside a search, which
    only needs the ratio) the milliseconds drift.
    """
    first_seconds: float = 1.0
    """`max_seconds` of a trial's first, rough timing; a full one follows a whole training."""
    front_seconds: float = 8.0
    """`max_seconds` of each network of the front, timed again together at a search's end."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """All settings of a trial but its genome."""

    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    latency: LatencyConfig = LatencyConfig()
    seed: int = 0
    """Fixes the initial weights, the crops and their noise, alike for every genome of a study."""
    device: str = "cpu"
    """Where the network trains and is timed: "cpu", "cuda" or "cuda:N"."""
