"""How much a dark photo is amplified: by the exposures of two files, or estimated from it alone.

The estimate follows the idea of Lamba and Mitra, "Restoring Extremely Dark Images in Real Time"
(CVPR 2021): sort the raw's values into a histogram, weigh its bins the less the brighter they are,
and amplify so that the weighted mean comes to a fixed brightness. A lamp in a dark room then
hardly counts, where a plain mean would follow it and leave the room dark. What is our own here:
green only, since it needs no white balance; means of small blocks, since single values of a dark
photo are mostly noise; and bins and weights on a logarithmic scale. It aims at a well-exposed
picture: the exposure that a photographer chose can't be known from the dark photo.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from space import InputError
from trials.raw.colour import mosaic_gains, scale_mosaic
from trials.raw.frame import Exposure, RawFrame
from trials.raw.reader import PICTURE_SUFFIXES, read_exposure

SMALLEST_RATIO = 1.0
LARGEST_RATIO = 300.0
SID_NAME = re.compile(r"(?P<scene>[^_]+)_(?P<index>.+)_(?P<seconds>\d+(?:\.\d+)?)s")
"""A photo's file name in SID's data set, without its suffix."""

# Brightness (sensor white = 1) to which the weighted mean is amplified: the geometric mean over
# twelve of SID's Sony photos at their ratio of 100 (0.02 to 0.13).
TARGET = 0.06
# Bins of the histogram, on a logarithmic scale from DARKEST to 1; their weights fall from 1 to 0,
# squared: so a lamp at half the sensor's white over 3 % of a dark room changes little.
BINS = 128
DARKEST = 2.0**-14
# Side of a block in 2 x 2 cells, and rows of blocks that are averaged at a time.
BLOCK, BAND = 8, 32


def amplify(mosaic: Tensor, gains: Tensor) -> Tensor:
    """A network's input: mosaics (b 1 h w, black 0, white 1) times gains (b 3), clipped at 1."""
    return scale_mosaic(mosaic, mosaic_gains(gains)).clamp_(max=1.0)


def channel_gains(
    frame: RawFrame, ratio: float, *, white_balanced: bool
) -> tuple[float, float, float]:
    """Gains of red, green and blue: `ratio`, times the white balance if requested.

    The balance's smallest gain counts as one, as in LibRaw, so that white stays white.
    """
    balance = frame.white_balance if white_balanced else (1.0, 1.0, 1.0)
    red, green, blue = (ratio * gain / min(balance) for gain in balance)
    return red, green, blue


def check_ratio(ratio: float) -> float:
    """`ratio`; InputError where no network was trained for it."""
    if not SMALLEST_RATIO <= ratio <= LARGEST_RATIO:
        rule = f"the amplification must be {SMALLEST_RATIO:g} to {LARGEST_RATIO:g}"
        raise InputError(f"{rule}, but got {ratio:g}; change it")
    return ratio


def estimate_ratio(frame: RawFrame) -> float:
    """The amplification, 1 to 300, that exposes a dark photo well; 300 for a black one."""
    blocks = green_blocks(frame)
    edges = np.geomspace(DARKEST, 1.0, BINS + 1)
    counts, _ = np.histogram(np.clip(blocks, DARKEST, 1.0), edges)
    # Means of the values themselves, not the bins' middles: below DARKEST some are negative.
    places = np.clip(np.digitize(blocks, edges) - 1, 0, BINS - 1)
    sums = np.bincount(places.ravel(), weights=blocks.ravel().astype(np.float64), minlength=BINS)
    weights = np.linspace(1.0, 0.0, BINS) ** 2
    if not (weights * counts).any():
        return SMALLEST_RATIO  # all of it is white
    mean = float((weights * sums).sum() / (weights * counts).sum())
    return min(max(TARGET / mean, SMALLEST_RATIO), LARGEST_RATIO) if mean > 0 else LARGEST_RATIO


def green_blocks(frame: RawFrame) -> NDArray[np.float32]:
    """Mean green of blocks of 16 x 16 pixels, black 0, white 1; noise may make it negative.

    A rest at the bottom or right that fills no block is left out, unless the photo is smaller.
    """
    height, width = frame.size
    rows, columns = min(BLOCK, height // 2), min(BLOCK, width // 2)
    black = (frame.black[1] + frame.black[2]) / 2
    bands = []
    for top in range(0, height // (2 * rows), BAND):
        band = frame.mosaic[2 * rows * top : 2 * rows * (top + BAND)]
        band = band[: len(band) // (2 * rows) * 2 * rows, : width // (2 * columns) * 2 * columns]
        values = band.astype(np.float32)
        green = (values[0::2, 1::2] + values[1::2, 0::2]) / 2
        blocks = green.reshape(-1, rows, green.shape[1] // columns, columns)
        bands.append(blocks.mean(axis=(1, 3)))
    return (np.concatenate(bands) - np.float32(black)) / np.float32(frame.white_level - black)


def exposure_of(path: str | Path) -> Exposure:
    """A photo's exposure: its metadata's, or of a name in SID's way (`..._0.1s.ARW`) the seconds.

    A TIFF or PNG has its name only. Raises InputError where neither tells the exposure time, and
    for a file that is no raw.
    """
    path = Path(path)
    is_picture = path.suffix.lower() in PICTURE_SUFFIXES
    exposure = Exposure() if is_picture else read_exposure(path)
    if not exposure.seconds and (match := SID_NAME.fullmatch(path.stem)):
        exposure = replace(exposure, seconds=float(match["seconds"]))
    if not exposure.seconds:
        rule = "a photo must tell its exposure time, inside or by a name such as a_00_0.1s.ARW"
        raise InputError(f"{rule}, but {path} does not; give --ratio")
    return exposure


def reference_ratio(dark: str | Path, reference: str | Path) -> float:
    """How many times more light the raw of `reference` took than that of `dark`, at most 300.

    The exposure times decide, and ISO and aperture where both files tell them. Raises InputError
    as `exposure_of`, and where the reference took less light.
    """
    ours, theirs = exposure_of(dark), exposure_of(reference)
    ratio = theirs.seconds / ours.seconds
    if ours.iso and theirs.iso:
        ratio *= theirs.iso / ours.iso
    if ours.aperture and theirs.aperture:
        ratio *= (ours.aperture / theirs.aperture) ** 2
    if not ratio >= 1 or not math.isfinite(ratio):
        rule = "a reference must have taken more light than the dark photo"
        took = f"{reference} took {ratio:.3g} times that of {dark}"
        raise InputError(f"{rule}, but {took}; give the well-exposed photo")
    return min(ratio, LARGEST_RATIO)
