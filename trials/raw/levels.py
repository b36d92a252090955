"""Does what a photo's file says of itself make sense? Looked up before memory is taken for it, or
a network fed with it.

A damaged header promises 60,000 x 60,000 pixels in a file of a few kilobytes, a black level above
the white one, or a white balance of infinity. None of that comes out of a camera.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from space import InputError
from trials.raw.truncation import cut_file, read_directory

if TYPE_CHECKING:
    from trials.raw.reader import RawFrame

# Cameras that move their sensor between shots make 400 megapixels.
MOST_PIXELS = 500_000_000
# Of one byte of a file. Every photo has noise, so that no way of packing it needs less than a
# tenth of a bit a pixel.
PIXELS_PER_BYTE = 100
# LibRaw stretches pictures whose pixels are less square than this.
SQUARE = 0.005
# Cameras' gains are 0.3 to 8.
LARGEST_GAIN = 1000.0
# Fields of a TIFF directory.
WIDTH, HEIGHT = 256, 257


def refuse_absurd_size(raw: Any, path: str | Path) -> None:
    """Raises InputError where an opened, not yet unpacked raw file promises what can't be."""
    sizes = raw.sizes
    check_size(max(sizes.raw_height, sizes.height), max(sizes.raw_width, sizes.width), path)
    if not abs(sizes.pixel_aspect - 1) <= SQUARE:
        raise InputError(
            f"a raw photo must have square pixels, but those of {path} are "
            f"{sizes.pixel_aspect:g} times as wide as "
            "high; use another camera's"
        )


def refuse_absurd_picture(path: str | Path) -> None:
    """Raises InputError where a PNG or TIFF promises what can't be; other files are left to their
    reader.
    """
    with open(path, "rb") as file:
        head = file.read(24)
        if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 24:
            width, height = struct.unpack(">II", head[16:24])
            _refuse_long_chunks(file, path)
        elif (order := {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])) and len(head) >= 8:
            fields, _ = read_directory(file, struct.unpack(order + "I", head[4:8])[0], order)
            height, width = (fields[tag][0] if fields.get(tag) else 0 for tag in (HEIGHT, WIDTH))
        else:
            return
    check_size(height, width, path)


def _refuse_long_chunks(file: BinaryIO, path: str | Path) -> None:
    """Raises InputError where a PNG promises a part beyond its end: OpenCV takes memory and many
    seconds for it.
    """
    size, at = os.path.getsize(path), 8
    while at + 8 <= size:
        file.seek(at)
        at += 12 + struct.unpack(">I", file.read(4))[0]
        if at > size:
            raise cut_file(path, at, size)


def check_size(height: int, width: int, path: str | Path) -> None:
    """Raises InputError where no file of that length can hold so many pixels."""
    most = min(MOST_PIXELS, PIXELS_PER_BYTE * os.path.getsize(path))
    if height * width > most:
        raise InputError(
            f"a photo must fit its file, but {path} promises {height} x {width} pixels, "
            f"and a file of its length holds "
            f"at most {most}; copy it again"
        )


def refuse_absurd_levels(frame: RawFrame, path: str | Path) -> None:
    """Raises InputError where black, white, white balance or colour matrix are none of a camera's."""
    black, white = frame.black, frame.white_level
    if not 0 <= min(black) <= max(black) < white <= 65535:
        raise InputError(
            f"a raw photo's black levels must be below its white level, at most 65535, "
            f"but {path} has "
            f"{', '.join(f'{level:g}' for level in black)} and {white:g}; copy it again"
        )
    if not all(1 / LARGEST_GAIN <= gain <= LARGEST_GAIN for gain in frame.white_balance):
        raise InputError(
            f"a raw photo's white balance must be from {1 / LARGEST_GAIN:g} to "
            f"{LARGEST_GAIN:g} times green, but {path} "
            f"has {', '.join(f'{gain:g}' for gain in frame.white_balance)}; copy it again"
        )
    largest = float(np.abs(frame.camera_to_srgb).max())
    if not (math.isfinite(largest) and largest <= LARGEST_GAIN):
        raise InputError(
            f"a raw photo's colour matrix must be of numbers up to {LARGEST_GAIN:g}, but "
            f"{path} has {largest:g} in it; "
            "copy it again"
        )
