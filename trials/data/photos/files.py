"""One photo's file as linear light: JPEG, PNG or TIFF of 8 or 16 bits, or a camera's raw file.

Whatever is no well-meant colour photo is refused with its name and the reason: `load_photos` skips
it with that line. Colour profiles are not read; every picture counts as sRGB.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from space import InputError
from trials.data.photos.unprocessing import linear_light
from trials.raw.images import quiet_opencv
from trials.raw.reader import open_raw
from trials.raw.validation import check_picture_file

JPEGS = (".jpg", ".jpeg")
PICTURES = (*JPEGS, ".png", ".tif", ".tiff")
RAWS = (".dng", ".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw")
# A photo whose longer side is above this is reduced, to at most LARGEST_SIDE and at least by 2:
# neighbouring pixels then no longer share a demosaicked sample or a block of a JPEG's.
SHARP_SIDE, LARGEST_SIDE = 1024, 2048
# Rows that are brought to linear light at a time, before they are reduced.
BAND = 512
SOFS = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def read_photo(path: Path, smallest: int) -> NDArray[np.float32]:
    """The photo at `path`: h w 3, red first, linear sRGB in [0, 1], the way up it was held.

    Large ones are reduced by averaging light, where at least `smallest` pixels a side are left.
    Raises InputError for a file that is damaged, too small, grey, transparent or CMYK.
    """
    picture = _read_raw(path) if path.suffix.lower() in RAWS else _read_picture(path)
    height, width = picture.shape[:2]
    if min(height, width) < smallest:
        raise InputError(
            f"a photo must have at least {smallest} pixels a side, but {path} has "
            f"{width} x {height}; give a larger one"
        )
    wanted = (
        max(2, -(-max(height, width) // LARGEST_SIDE)) if max(height, width) > SHARP_SIDE else 1
    )
    return _linear(picture, min(wanted, min(height, width) // smallest))


def _read_raw(path: Path) -> NDArray[np.uint16]:
    """A raw file developed as the ground truth is, but with one pixel for each 2 x 2 cell."""
    with open_raw(path) as raw:
        picture: NDArray[np.uint16] = raw.postprocess(
            use_camera_wb=True, half_size=True, no_auto_bright=True, output_bps=16
        )
    if picture.ndim != 3 or picture.shape[2] != 3:
        raise InputError(f"a photo must have three colours, but {path} is grey; leave it out")
    return picture


def _read_picture(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    is_jpeg = path.suffix.lower() in JPEGS
    if is_jpeg:
        _check_jpeg(path)
    check_picture_file(path)
    # A JPEG's way up is honoured only by modes other than UNCHANGED, which alone tells alpha.
    mode = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH if is_jpeg else cv2.IMREAD_UNCHANGED
    picture = None
    with quiet_opencv(), contextlib.suppress(cv2.error, MemoryError):
        picture = cv2.imread(os.fspath(path), mode)
    if picture is None:
        raise InputError(f"a photo must be a readable picture, but {path} is not; replace it")
    if picture.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"a photo must have 8 or 16 bits, but {path} is {picture.dtype}; convert it"
        )
    if picture.ndim == 2:
        raise InputError(f"a photo must have three colours, but {path} is grey; leave it out")
    if picture.shape[2] == 4 and (picture[..., 3] == np.iinfo(picture.dtype).max).all():
        picture = picture[..., :3]
    if picture.shape[2] != 3:
        raise InputError(
            f"a photo must be RGB and opaque, but {path} is transparent or CMYK; convert it"
        )
    rgb: NDArray[np.uint8] | NDArray[np.uint16] = picture[..., ::-1]
    return rgb


def _check_jpeg(path: Path) -> None:
    """Refuses a JPEG without its end, which libjpeg fills with grey, and one in CMYK."""
    data, at, colours = path.read_bytes(), 2, 0
    while data[:2] == b"\xff\xd8" and at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in SOFS and at + 9 < len(data):
            colours = data[at + 9]
        if marker == 0xDA:  # the picture itself, in which no 0xFF is followed by 0xD9
            break
        at += 1 if marker == 0xFF else 2 + length
    if colours == 0 or data.find(b"\xff\xd9", at) < 0:
        raise InputError(f"a JPEG must be whole, but {path} is not; copy it again")
    if colours == 4:
        raise InputError(f"a photo must be RGB, but {path} is CMYK; convert it")


def _linear(
    picture: NDArray[np.uint8] | NDArray[np.uint16], reduction: int
) -> NDArray[np.float32]:
    """Linear light of display values, each `reduction` x `reduction` pixels averaged."""
    most = int(np.iinfo(picture.dtype).max)
    table = linear_light(torch.linspace(0, 1, most + 1, dtype=torch.float64)).float().numpy()
    height, width = picture.shape[0] // reduction, picture.shape[1] // reduction
    linear = np.empty((height, width, 3), np.float32)
    for top in range(0, height, BAND // reduction):
        bottom = min(top + BAND // reduction, height)
        rows = picture[top * reduction : bottom * reduction, : width * reduction]
        light = table[rows]
        size = (width, bottom - top)
        linear[top:bottom] = light if reduction == 1 else _area(light, size)
    return linear


def _area(light: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
