"""One photo's file as linear light: JPEG, PNG or TIFF of 8 or 16 bits, or a camera's raw file.

Whatever is no well-meant colour photo is refused with its name and the reason: `load_photos` skips
it with that line. Colour profiles are not read; every picture counts as sRGB.
"""

from __future__ import annotations

import contextlib
import math
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from space import InputError
from trials.data.photos.unprocessing import linear_light
from trials.raw.images import quiet_opencv
from trials.raw.reader import open_raw
from trials.raw.validation import MOST_PIXELS, check_picture_file

JPEGS = (".jpg", ".jpeg")
PICTURES = (".tif", ".tiff", ".png", *JPEGS)
RAWS = (".dng", ".arw", ".cr2", ".cr3", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw")
# A photo whose longer side is above this is reduced, to at most LARGEST_SIDE and at least by 2:
# neighbouring pixels then no longer share a demosaicked sample or a block of a JPEG's.
SHARP_SIDE, LARGEST_SIDE = 1024, 2048
# Rows that are brought to linear light at a time, before they are reduced.
BAND = 512
# Markers of a JPEG: those of frames, which begin with precision, height and width; and of a scan.
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
SCAN = 0xDA

Picture = NDArray[np.uint8] | NDArray[np.uint16]
"""Display values, h w 3, red first; h w where it is grey."""


def read_photo(path: Path, smallest: int) -> NDArray[np.float32]:
    """The photo at `path`: h w 3, red first, linear sRGB in [0, 1], the way up it was held.

    Large ones are reduced by averaging light, where at least `smallest` pixels a side are left.
    Raises InputError for a file that is damaged, too small, grey or transparent.
    """
    is_raw = path.suffix.lower() in RAWS
    picture = _read_raw(path) if is_raw else _read_picture(path)
    if picture.ndim != 3 or _is_grey(picture[::4, ::4]):
        raise InputError(f"a photo must be in colour, but {path} is grey; leave it out")
    height, width = picture.shape[:2]
    if min(height, width) < smallest:
        raise InputError(
            f"a photo must have at least {smallest} pixels a side, but {path} has "
            f"{width} x {height}; give a larger one"
        )
    reduction = -(-max(height, width) // LARGEST_SIDE)
    if max(height, width) > SHARP_SIDE and not is_raw:  # raws have been halved
        reduction = max(reduction, 2)
    return _linear(picture, min(reduction, min(height, width) // smallest))


def _read_raw(path: Path) -> Picture:
    """A raw file developed as the ground truth is, but with one pixel for each 2 x 2 cell."""
    with open_raw(path) as raw:
        picture: NDArray[np.uint16] = raw.postprocess(
            use_camera_wb=True, half_size=True, no_auto_bright=True, output_bps=16
        )
    return picture[..., 0] if picture.shape[2:] == (1,) else picture


def _read_picture(path: Path) -> Picture:
    check_picture_file(path)
    data = path.read_bytes()
    is_jpeg = data.startswith(b"\xff\xd8")
    if is_jpeg:
        _check_jpeg(data, path)
    # This mode alone honours EXIF's orientation; it drops alpha.
    picture: Any = _decode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if picture is None:
        raise InputError(f"a photo must be a readable picture, but {path} is not; replace it")
    if picture.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"a photo must have 8 or 16 bits, but {path} is {picture.dtype}; convert it"
        )
    whole = None if is_jpeg else _decode(data, cv2.IMREAD_UNCHANGED)
    alpha = whole[..., 3] if whole is not None and whole.shape[2:] == (4,) else None
    if alpha is not None and alpha.min() < np.iinfo(picture.dtype).max:
        raise InputError(f"a photo must be opaque, but {path} has transparent parts; flatten it")
    rgb: Picture = picture[..., ::-1] if picture.ndim == 3 else picture
    return rgb


def _decode(data: bytes, mode: int) -> Any:
    """OpenCV's array, blue first, or None. From memory: its reader of files can't turn TIFFs."""
    with quiet_opencv(), contextlib.suppress(cv2.error, MemoryError):
        return cv2.imdecode(np.frombuffer(data, np.uint8), mode)


def _check_jpeg(data: bytes, path: Path) -> None:
    """Refuses a JPEG that promises too much, or lacks its end, which libjpeg fills with grey."""
    at, pixels = 2, 0
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in FRAMES:
            pixels = math.prod(struct.unpack(">HH", data[at + 5 : at + 9]))
        if marker == SCAN:
            break
        at += 1 if marker == 0xFF else 2 + length
    # Within a scan 0xFF is never followed by 0xD9.
    if not 0 < pixels <= MOST_PIXELS or data.find(b"\xff\xd9", at) < 0:
        raise InputError(f"a JPEG must be whole, but {path} is not; copy it again")


def _is_grey(picture: Picture) -> bool:
    return bool((picture[..., 0] == picture[..., 1]).all() and np.ptp(picture, axis=2).max() == 0)


def _linear(picture: Picture, reduction: int) -> NDArray[np.float32]:
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
