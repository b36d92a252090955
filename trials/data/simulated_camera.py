"""The simulated camera: an extremely dark photo of a scene, and the one that it should have been.

The target is the clean scene as LibRaw would develop it; the mosaic is what the sensor reads out
at 1 / ratio of the exposure, amplified again. Whatever is not given is drawn, picture by picture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trials.config import DataConfig
from trials.data.noise import SensorNoise
from trials.raw.colour import apply_matrix, develop, mosaic_gains, scale_mosaic, to_mosaic
from trials.raw.sensor import load_sensor

# Mean of a picture in linear light: about 0.07 to 0.5 in sRGB, as of night photos exposed long.
DARKEST, BRIGHTEST = 0.015, 0.25


class SimulatedCamera:
    """The sensor of a `DataConfig`, with its ranges of ISO and exposure ratio, on one device."""

    def __init__(self, config: DataConfig, device: str | torch.device) -> None:
        """Raises InputError for an unknown sensor, or ISO values it was not calibrated at."""
        self.config, self.device = config, torch.device(device)
        self.sensor = load_sensor(config.sensor)
        rows = self.sensor.between(config.iso_min, config.iso_max)
        self.noise = SensorNoise(self.sensor, rows, self.device)
        self.camera_to_srgb = torch.tensor(self.sensor.camera_to_srgb, device=self.device)

    def from_srgb(self, scenes: Tensor) -> Tensor:
        """Linear sRGB scenes (n 3 h w, any dtype) as white-balanced camera RGB, not below 0."""
        matrix = torch.linalg.inv(self.camera_to_srgb.double().cpu()).float().to(scenes.device)
        converted = torch.empty_like(scenes)
        for scene, place in zip(scenes, converted, strict=True):  # one by one: half the memory
            place.copy_(apply_matrix(scene[None].float(), matrix)[0].clamp_(min=0.0))
        return converted

    def draw_ratio(
        self, count: int, generator: torch.Generator, *, dim_share: float = 0.0
    ) -> Tensor:
        """`count` exposure ratios (count 1 1 1); a `dim_share` of them is of less dark photos."""
        ratio = log_uniform(self.config.ratio_min, self.config.ratio_max, count, generator)
        if dim_share == 0:
            return ratio
        dim = log_uniform(1.0, self.config.ratio_min, count, generator)
        chance = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
        return torch.where(chance < dim_share, dim, ratio)

    def photograph(
        self,
        scenes: Tensor,
        generator: torch.Generator,
        *,
        exposure: Tensor | None = None,
        ratio: Tensor | None = None,
        white_balance: Tensor | None = None,
        rows: Tensor | None = None,
        calibrated: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mosaics (b 1 h w, amplified, [0, 1]) and targets (b 3 h w, sRGB, [0, 1]) of scenes.

        `scenes` (b 3 h w) are linear white-balanced camera RGB, on the device of the generator.
        `exposure` (b 1 1 1) is what they are multiplied by, 1 being white (drawn for scenes with a
        mean of 1); `ratio` (b 1 1 1) the exposure ratio, long / short; `white_balance` (b 3) the
        gains of red, green and blue, green's 1; `rows` (b) the row of `noise.table`, one an ISO;
        `calibrated` (b 1 1 1) is False for those whose black level's error nobody knows.
        """
        config, batch = self.config, scenes.shape[0]
        if exposure is None:
            exposure = log_uniform(DARKEST, BRIGHTEST, batch, generator)
        if ratio is None:
            ratio = self.draw_ratio(batch, generator)
        if white_balance is None:
            white_balance = self.noise.draw_white_balance(batch, generator)
        gains = mosaic_gains(white_balance)
        balanced = scenes * exposure
        target = develop(balanced, self.camera_to_srgb)
        clean = scale_mosaic(to_mosaic(balanced), 1.0 / (gains * ratio))
        if rows is None:
            rows = self.noise.draw_rows(batch, generator)
        noisy = self.noise.expose(clean, rows, generator)
        network_input = config.network_input
        if network_input.black_corrected:
            error = self.noise.black_error(rows)
            noisy -= error if calibrated is None else error * calibrated
        # As in SID's files, values below black are cut off before amplification.
        amplification = ratio * gains if network_input.white_balanced else ratio.expand_as(gains)
        return scale_mosaic(noisy.clamp_(min=0.0), amplification).clamp_(max=1.0), target


def log_uniform(low: float, high: float, count: int, generator: torch.Generator) -> Tensor:
    """`count` draws (count x 1 x 1 x 1), uniform in the logarithm."""
    uniform = torch.rand(count, 1, 1, 1, generator=generator, device=generator.device)
    return (math.log(low) + (math.log(high) - math.log(low)) * uniform).exp()
