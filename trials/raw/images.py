"""Pictures as files: 16-bit PNG or TIFF, 8-bit JPEG, sRGB.

A picture is held as 16 bits in the order in which OpenCV writes it, so that a large one is written
without a copy.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from space import InputError
from trials.files import replacing, require_utf8

JPEG = ".jpg"
JPEG_QUALITY = 95
# Longest side that a JPEG's header can hold.
JPEG_SIDE = 65_500
# Rows that are made 8 bits at a time.
BAND = 256


def blank_picture(height: int, width: int) -> NDArray[np.uint16]:
    """An unfilled picture, h w 3, red first, in the memory order that `write_picture` wants."""
    return np.empty((height, width, 3), dtype=np.uint16)[..., ::-1]


def as_sensor(picture: NDArray[np.uint16], flip: int) -> NDArray[np.uint16]:
    """A view of `picture` (h w 3) pixel by pixel as the sensor lay, before LibRaw's `flip`."""
    if flip & 4:
        picture = picture.swapaxes(0, 1)
    if flip & 2:
        picture = picture[::-1]
    return picture[:, ::-1] if flip & 1 else picture


def turned_size(height: int, width: int, flip: int) -> tuple[int, int]:
    """Height and width of a picture after LibRaw's `flip`."""
    return (width, height) if flip & 4 else (height, width)


def write_picture(path: Path, picture: NDArray[np.uint16]) -> None:
    """Writes `picture` (h w 3, red first, 0 to 65535, sRGB), whole or not at all.

    The suffix decides: .png and .tiff have 16 bits, .jpg has 8. Raises InputError for a JPEG that
    is too large or a name that is no UTF-8, OSError where the disk won't take the file.
    """
    require_utf8(path)
    is_jpeg = path.suffix == JPEG
    if is_jpeg and max(picture.shape) > JPEG_SIDE:
        rule, size = f"a JPEG must be at most {JPEG_SIDE} pixels a side", picture.shape
        raise InputError(f"{rule}, but {path} would be {size[1]} x {size[0]}; choose png or tiff")
    pixels = _eight_bits(picture) if is_jpeg else np.ascontiguousarray(picture[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if is_jpeg else []
    with replacing(path) as temporary, quiet_opencv():
        # OpenCV chooses the format by the suffix. Encoding in memory would take several pictures.
        suffixed = temporary.with_name(temporary.name + path.suffix)
        try:
            suffixed.touch()  # OpenCV's own error would not say why a file can't be made
            if not cv2.imwrite(str(suffixed), pixels, options):
                # It doesn't say more, and whatever else could be wrong was tried before.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            suffixed.replace(temporary)
        finally:
            suffixed.unlink(missing_ok=True)


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Inside, OpenCV prints no lines of its own, such as one for every tag out of order."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _eight_bits(picture: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Blue first, rounded, band by band: no whole copy in a wider type."""
    out = np.empty(picture.shape, dtype=np.uint8)
    for top in range(0, len(picture), BAND):
        band = picture[top : top + BAND, :, ::-1].astype(np.uint32)
        out[top : top + BAND] = (band + 128) // 257
    return out
