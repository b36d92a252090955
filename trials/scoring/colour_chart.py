"""A colour chart as a test of a network: 24 known patches, photographed by the simulated camera.

PSNR forgives a wrong colour, as long as it is dark; the eye doesn't. The chart is the ColorChecker
Classic; the patches' sRGB values are those that its maker published (and D. Pascale measured
again, "RGB coordinates of the Macbeth ColorChecker", 2006). It is photographed at exposure ratios
from 1 to 300 and ISO values from 100 to 25,600; a patch counts by its mean colour, so that noise
does not, and is compared with the clean development of the same chart.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from space import InputError, NetworkInput
from trials.config import DataConfig
from trials.data import Pair, Progress
from trials.data.simulated_camera import SimulatedCamera
from trials.device.lock import DeviceLock
from trials.scoring.colour_difference import (
    chroma,
    ciede2000,
    hue_difference,
    lab_of_srgb,
    linear_of_srgb,
)
from trials.scoring.protocols import Restorer

PATCHES = (
    ("dark skin", 115, 82, 68),
    ("light skin", 194, 150, 130),
    ("blue sky", 98, 122, 157),
    ("foliage", 87, 108, 67),
    ("blue flower", 133, 128, 177),
    ("bluish green", 103, 189, 170),
    ("orange", 214, 126, 44),
    ("purplish blue", 80, 91, 166),
    ("moderate red", 193, 90, 99),
    ("purple", 94, 60, 108),
    ("yellow green", 157, 188, 64),
    ("orange yellow", 224, 163, 46),
    ("blue", 56, 61, 150),
    ("green", 70, 148, 73),
    ("red", 175, 54, 60),
    ("yellow", 231, 199, 31),
    ("magenta", 187, 86, 149),
    ("cyan", 8, 133, 161),
    ("white", 243, 243, 242),
    ("neutral 8", 200, 200, 200),
    ("neutral 6.5", 160, 160, 160),
    ("neutral 5", 122, 122, 121),
    ("neutral 3.5", 85, 85, 85),
    ("black", 52, 52, 52),
)
COLUMNS, ROWS = 6, 4
# The picture's rows and columns, a multiple of all networks'; the frame between the patches.
SIZE = (256, 320)
FRAME = 8
FRAME_LIGHT = 0.03
# What one photo is shown of: as dark as SID's, at a middling ISO.
SHOWN_RATIO, SHOWN_ISO = 100.0, 1600
# White stays below the sensor's white.
EXPOSURE = 0.85
RATIOS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
ISOS = (100, 400, 1600, 6400, 25_600)
# Photos of each ratio and ISO: their noise, and the error of the black level, differ.
DRAWS = 2
# Less chromatic patches have no hue to be wrong.
LEAST_CHROMA = 10.0
SEED = 24


@dataclass(frozen=True, kw_only=True)
class PatchScore:
    """One patch of one photo."""

    ratio: float
    iso: int
    """The calibrated ISO that is nearest to the asked one."""
    draw: int
    patch: str
    delta_e: float
    """CIEDE2000 to the clean development."""
    hue_error_degrees: float | None
    """None of a patch that is nearly grey."""


@dataclass(frozen=True)
class Layout:
    """Where the patches of a chart of `height` x `width` pixels lie."""

    height: int
    width: int

    @property
    def patch(self) -> int:
        """Side of a patch in pixels."""
        step = min((self.width - FRAME) // COLUMNS, (self.height - FRAME) // ROWS)
        return step - FRAME

    def corners(self) -> list[tuple[int, int]]:
        """Top and left of each patch, row by row."""
        step = self.patch + FRAME
        top, left = (self.height - ROWS * step) // 2, (self.width - COLUMNS * step) // 2
        places = ((row, column) for row in range(ROWS) for column in range(COLUMNS))
        half = FRAME // 2
        return [(top + half + step * row, left + half + step * column) for row, column in places]

    def parts(self, edge: float) -> list[tuple[slice, slice]]:
        """Each patch without a share `edge` at each of its sides."""
        inset = round(edge * self.patch)
        size = self.patch - inset
        return [
            (slice(top + inset, top + size), slice(left + inset, left + size))
            for top, left in self.corners()
        ]


@dataclass(frozen=True, kw_only=True)
class ChartPhoto:
    """The chart, dark and as it should be."""

    ratio: float
    iso: int
    draw: int
    mosaics: dict[NetworkInput, Tensor]
    """1 1 h w, amplified, [0, 1]; for each input that a network may want."""
    target: Tensor
    """1 3 h w, sRGB."""


def photograph_chart(
    config: DataConfig,
    *,
    ratios: Sequence[float] = RATIOS,
    isos: Sequence[int] = ISOS,
    draws: int = DRAWS,
    size: tuple[int, int] = SIZE,
) -> list[ChartPhoto]:
    """The chart at each ratio and ISO, `draws` times; always the same, on the CPU.

    The sensor is `config`'s. Raises InputError for a ratio below 1 or above 1,000, and for an ISO
    beyond those that the sensor was calibrated at.
    """
    config = replace(config, iso_min=1, iso_max=10_000_000)
    cameras = {
        network_input: SimulatedCamera(config.for_input(network_input), "cpu")
        for network_input in (
            NetworkInput(*flags) for flags in itertools.product((True, False), repeat=2)
        )
    }
    camera = cameras[NetworkInput()]
    scene = camera.from_srgb(torch.from_numpy(chart(*size))[None])
    balance = torch.tensor(camera.sensor.white_balance["log_mean"]).exp()
    white_balance = torch.stack([balance[0], torch.ones(()), balance[1]])[None]
    photos = []
    for ratio in ratios:
        if not 1 <= ratio <= 1000:
            raise InputError(
                f"the chart's ratio must be from 1 to 1000, but is {ratio:g}; change it"
            )
        for nominal in isos:
            row, iso = _row(camera, nominal)
            for draw in range(draws):
                mosaics = {}
                for network_input, one in cameras.items():
                    generator = torch.Generator().manual_seed(SEED + draw)
                    mosaics[network_input], target = one.photograph(
                        scene.clone(),
                        generator,
                        exposure=torch.full((1, 1, 1, 1), EXPOSURE),
                        ratio=torch.full((1, 1, 1, 1), float(ratio)),
                        white_balance=white_balance,
                        rows=torch.tensor([row]),
                    )
                photo = ChartPhoto(ratio=ratio, iso=iso, draw=draw, mosaics=mosaics, target=target)
                photos.append(photo)
    return photos


@torch.no_grad()
def score_chart(
    restorer: Restorer,
    photos: Sequence[ChartPhoto],
    *,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> list[PatchScore]:
    """Every patch of every photo. Progress is reported as "chart", one step a photo."""
    scores = []
    for done, photo in enumerate(photos, 1):
        restored = restored_chart(restorer, photo, device=device)
        truth, found = (lab_of_srgb(patches(one)) for one in (picture(photo.target), restored))
        differences, hues = ciede2000(truth, found), hue_difference(truth, found)
        for index, (name, *_) in enumerate(PATCHES):
            is_grey = chroma(truth)[index] < LEAST_CHROMA
            scores.append(
                PatchScore(
                    ratio=photo.ratio,
                    iso=photo.iso,
                    draw=photo.draw,
                    patch=name,
                    delta_e=float(differences[index]),
                    hue_error_degrees=None if is_grey else float(hues[index]),
                )
            )
        if on_progress:
            on_progress("chart", done, len(photos), {})
    return scores


@torch.no_grad()
def restored_chart(
    restorer: Restorer, photo: ChartPhoto, *, device: str = "cpu"
) -> NDArray[np.float64]:
    """The photo (h w 3, display values in [0, 1]) as `restorer` restores it."""
    mosaic = photo.mosaics[restorer.input].to(device)
    with DeviceLock(str(mosaic.device)).shared():
        return picture(restorer.restore(mosaic))


def shown_pair(config: DataConfig, size: tuple[int, int]) -> Pair:
    """The chart of `size` rows and columns, for a picture of before and after."""
    (photo,) = photograph_chart(config, ratios=[SHOWN_RATIO], isos=[SHOWN_ISO], draws=1, size=size)
    mosaic = photo.mosaics[config.network_input]
    return Pair(name="chart", mosaic=mosaic, target=photo.target)


def chart(height: int, width: int) -> NDArray[np.float32]:
    """The chart (3 h w), linear sRGB."""
    image = np.full((height, width, 3), FRAME_LIGHT, np.float32)
    for part, (_, *display) in zip(Layout(height, width).parts(0.0), PATCHES, strict=True):
        image[part] = linear_of_srgb(np.array(display) / 255)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def patches(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean colours (24 3) of the patches of a picture (h w 3), without their edges."""
    parts = Layout(*image.shape[:2]).parts(0.2)
    return np.stack([image[part].mean(axis=(0, 1)) for part in parts])


def inlaid(restored: NDArray[np.float64], photo: ChartPhoto) -> NDArray[np.float64]:
    """The restored chart (h w 3) with the truth colour in the middle of each patch."""
    both, truth = restored.copy(), picture(photo.target)
    for part in Layout(*both.shape[:2]).parts(0.3):
        both[part] = truth[part]
    return both


def picture(image: Tensor) -> NDArray[np.float64]:
    """1 3 h w as h w 3, in [0, 1]."""
    return image[0].permute(1, 2, 0).double().cpu().numpy().clip(0, 1)


def _row(camera: SimulatedCamera, iso: int) -> tuple[int, int]:
    """Row of the sensor's table and its ISO, the nearest in the logarithm."""
    known = [row.iso for row in camera.sensor.rows]
    if not known[0] / 2 <= iso <= known[-1] * 2:
        raise InputError(
            f"the chart's ISO must be one that {camera.sensor.camera} was calibrated at "
            f"({known[0]} to {known[-1]}), but is {iso}; change it"
        )
    row = int(np.abs(np.log(np.array(known) / iso)).argmin())
    return row, known[row]
