"""Training data that needs no camera: procedural scenes, photographed anew for every sample.

A sample is a crop of a scene in one of its eight orientations, photographed by the simulated
camera at an exposure, with a white balance, an ISO and an exposure ratio of its own.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from space import InputError
from trials.config import DataConfig
from trials.data.pair import Pair, Progress
from trials.data.photos.library import choose_scene, load_photos
from trials.data.scenes import PALETTES, cached_scenes
from trials.data.simulated_camera import SimulatedCamera
from trials.raw.colour import orient

# Raised whenever a change of code changes what a seed gives: no study mixes two kinds of data.
RECIPE = 4


# What a stream of scenes is for: no scene of one turns up in another of the same seed.
TRAINING, HELD_OUT = (), (1,)


class SyntheticData:
    """Procedural training data on one device."""

    def __init__(
        self,
        config: DataConfig,
        device: str,
        on_progress: Progress | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        """Raises InputError for a config that can't be met; `cache_dir` stores the scenes."""
        check(config)
        self.config = config
        self.device = torch.device(device)
        self.camera = SimulatedCamera(config, self.device)
        photos = load_photos(config, cache_dir, on_progress)
        is_procedural = not photos.photos or config.photo_share < 1
        self._procedural = config.scenes if is_procedural else 0
        scene_seeds = [
            *seeds_of(config.seed, self._procedural),
            *seeds_of(config.seed, config.held_out - len(photos.held_out), HELD_OUT),
        ]
        total = len(scene_seeds)

        def on_drawn(count: int) -> None:
            if on_progress:
                on_progress("scenes", count, total, {})

        scenes = cached_scenes(
            scene_seeds,
            config.scene_size,
            palette=config.colours,
            recipe=RECIPE,
            folder=cache_dir,
            on_drawn=on_drawn,
        )
        if config.colours != "grey":
            scenes = self.camera.from_srgb(scenes)
        training, held_out = scenes[: self._procedural], scenes[self._procedural :]
        self.scenes = torch.cat([training, photos.training]).to(self.device)
        # Photos last: the pairs before them are the same with photos and without.
        self.held_out = self._hold_out(torch.cat([held_out, photos.held_out]), len(held_out))
        # The folder's path is nobody's business.
        about = {"count": photos.photos, "scenes": len(photos.training), "digest": photos.digest()}
        fields = asdict(config) | {"source": "synthetic"}
        fields |= {"photos": about if photos.photos else None}
        digest = hashlib.sha256(json.dumps([RECIPE, fields], sort_keys=True).encode())
        digest.update(scenes.numpy().tobytes())
        self.description: dict[str, Any] = {
            "kind": "synthetic",
            "recipe": RECIPE,
            "config": fields,
            "camera": self.camera.sensor.camera,
            "digest": digest.hexdigest()[:16],
        }

    def sample(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As `TrialData.sample`; every crop is photographed anew."""
        check_crop(crop, self.config.scene_size)
        span = self.config.scene_size - crop + 1
        shares = torch.rand(batch, 4, generator=generator, device=generator.device).unbind(1)
        counts = (len(self.scenes), span, span, 8)
        # Rounding may bring a share to one.
        numbers = [
            (share * count).long().clamp_(max=count - 1)
            for share, count in zip(shares, counts, strict=True)
        ]
        photos = len(self.scenes) - self._procedural
        share = self.config.photo_share
        numbers[0] = choose_scene(shares[0], self._procedural, photos, share)
        places = torch.stack(numbers, dim=1)
        if self.device.type == "cuda":
            crops = gather_crops(self.scenes, places, crop)
        else:  # slices are faster than indexed pixels, and there is no device to wait for
            crops = torch.stack([self._cut(crop, *place) for place in places.tolist()])
        ratio = self.camera.draw_ratio(batch, generator, dim_share=self.config.dim_share)
        chance = torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device)
        calibrated = chance >= self.config.uncalibrated_share
        return self.camera.photograph(crops.float(), generator, ratio=ratio, calibrated=calibrated)

    def _cut(self, crop: int, scene: int, top: int, left: int, turn: int) -> Tensor:
        return orient(self.scenes[scene, :, top : top + crop, left : left + crop], turn)

    def _hold_out(self, scenes: Tensor, procedural: int) -> list[Pair]:
        # Photographed on the CPU, so that a seed gives the same pairs whatever the device.
        camera = SimulatedCamera(self.config, "cpu")
        generator = torch.Generator().manual_seed(self.config.seed + 1)
        pairs = []
        for index, scene in enumerate(scenes):
            photo = camera.photograph(scene[None].float(), generator)
            mosaic, target = (picture.to(self.device) for picture in photo)
            number = index - procedural
            name = f"photo_{number:02d}" if number >= 0 else f"scene_{index:02d}"
            pairs.append(Pair(name, mosaic, target, is_private=number >= 0))
        return pairs


def seeds_of(seed: int, count: int, stream: tuple[int, ...] = TRAINING) -> list[int]:
    """Seeds of the first `count` scenes of a stream, however many there are in another one.

    SeedSequence mixes the numbers, so that neighbouring seeds share no scene.
    """
    sequences = (np.random.SeedSequence([seed, index, *stream]) for index in range(count))
    return [int(sequence.generate_state(1)[0]) for sequence in sequences]


def gather_crops(scenes: Tensor, places: Tensor, crop: int) -> Tensor:
    """Crops (b c `crop` `crop`) of `scenes` (n c h w), without waiting for the device.

    `places` (b 4, integers, on the device of the scenes): scene, top, left, and turn as
    `colour.orient` takes it. Equals slicing and orienting one after the other.
    """
    which, top, left, turn = places[:, :, None].unbind(1)
    forth = torch.arange(crop, device=scenes.device)
    rows = top + torch.where((turn & 2) > 0, crop - 1 - forth, forth)
    columns = left + torch.where((turn & 1) > 0, crop - 1 - forth, forth)
    transposed = ((turn & 4) > 0)[:, :, None]
    rows = torch.where(transposed, rows[:, None, :], rows[:, :, None])
    columns = torch.where(transposed, columns[:, :, None], columns[:, None, :])
    return scenes[which[:, :, None], :, rows, columns].permute(0, 3, 1, 2).contiguous()


def check(config: DataConfig) -> None:
    """Raises InputError where a number of the config is out of range."""
    for name, least in (("scenes", 1), ("held_out", 1), ("scene_size", 32), ("ratio_min", 1)):
        if (value := getattr(config, name)) < least:
            raise InputError(f"{name} must be at least {least}, but is {value}; raise it")
    if config.colours not in PALETTES:
        known = ", ".join(PALETTES)
        raise InputError(f"colours must be one of {known}, but is {config.colours!r}; choose one")
    for name in ("dim_share", "uncalibrated_share"):
        if not 0 <= (share := getattr(config, name)) <= 1:
            raise InputError(f"{name} must be in [0, 1], but is {share}; change it")
    if config.scene_size % 2:
        raise InputError(f"scene_size must be even, but is {config.scene_size}; add one")
    low, high = config.ratio_min, config.ratio_max
    if high < low:
        raise InputError(f"ratio_max must be at least ratio_min, but {high} < {low}; swap them")


def check_crop(crop: int, available: int) -> None:
    """Raises InputError for a crop that is odd or larger than the pictures."""
    if crop % 2 or not 2 <= crop <= available:
        raise InputError(
            f"crop must be even and at most {available}, the picture's side, but is {crop}; fix it"
        )
