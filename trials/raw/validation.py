"""Everything that is checked about a photo's file, because LibRaw and OpenCV do not.

A damaged header promises 60,000 x 60,000 pixels in a file of a few kilobytes, a black level above
the white one, or an infinite white balance; and several of LibRaw's decoders fill what a truncated
file lacks with zeros, or repeat the last row they read, and a network would learn from that.

The stages, each called in one place of the reader: `check_file` (the bytes, before LibRaw opens
them), `check_dimensions` (the header, before memory is taken) and `check_frame` (what was
decoded); `check_picture_file` is for PNG and TIFF. All raise InputError.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from space import InputError
from trials.files import require_utf8
from trials.raw.frame import RawFrame

# Cameras that move their sensor between shots make 400 megapixels.
MOST_PIXELS = 500_000_000
# Every photo has noise: no compression needs less than a tenth of a bit a pixel.
PIXELS_PER_BYTE = 100
# LibRaw stretches pictures whose pixels are less square than this.
SQUARE = 0.005
# Cameras' gains are 0.3 to 8.
LARGEST_GAIN = 1000.0
# TIFF tags: the picture's size, where the data of strips and tiles begin and how long they are,
# and sub-directories.
WIDTH, HEIGHT = 256, 257
STRIPS, STRIP_BYTES, TILES, TILE_BYTES, SUB_DIRECTORIES = 273, 279, 324, 325, 330
NUMBER_TAGS = {WIDTH, HEIGHT, STRIPS, STRIP_BYTES, TILES, TILE_BYTES, SUB_DIRECTORIES}
# The filter array's size and colours: where they are missing, LibRaw takes any bytes of memory.
FILTER_TAGS = (33421, 33422)
# Bytes per number of each TIFF type, from 0 on.
TYPE_BYTES = (1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 2, 8, 8, 8, 8)
# Numbers read of one directory: a forged one might promise millions, again and again.
MOST_NUMBERS = 1_000_000
MOST_DIRECTORIES = 64


def check_file(path: str | Path) -> None:
    """A raw file based on TIFF (DNG, ARW, NEF, CR2 ...) must hold all the data it promises."""
    _require_file(path)
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        if (header := _tiff_header(file.read(8))) is None:
            return
        order, first = header
        pending, seen = [first], set[int]()
        while pending and len(seen) < MOST_DIRECTORIES:
            at = pending.pop()
            if at == 0 or at in seen:
                continue
            seen.add(at)
            _require_bytes(path, at + 2, size)
            fields, following = _read_directory(file, at, order)
            pending += [following, *fields.get(SUB_DIRECTORIES, ())]
            spans = [fields[tag] for tag in FILTER_TAGS if tag in fields]
            for starts, lengths in ((STRIPS, STRIP_BYTES), (TILES, TILE_BYTES)):
                spans += zip(fields.get(starts, ()), fields.get(lengths, ()), strict=False)
            for start, length in spans:
                _require_bytes(path, start + length, size)


def check_dimensions(raw: Any, path: str | Path) -> None:
    """An opened raw file, not yet unpacked, must have a possible size and square pixels."""
    sizes = raw.sizes
    height, width = max(sizes.raw_height, sizes.height), max(sizes.raw_width, sizes.width)
    _check_pixels(height, width, path)
    if not abs(sizes.pixel_aspect - 1) <= SQUARE:
        shape = f"those of {path} are {sizes.pixel_aspect:g} times as wide as high"
        raise InputError(f"a raw photo must have square pixels, but {shape}; use another camera's")


def check_frame(frame: RawFrame, path: str | Path) -> None:
    """Decoded values and levels must be a camera's."""
    _check_last_rows(frame.mosaic, path)
    black, white = frame.black, frame.white_level
    if not 0 <= min(black) <= max(black) < white <= 65535:
        rule = "a raw photo's black levels must be below its white level, at most 65535"
        levels = f"{', '.join(f'{level:g}' for level in black)} and {white:g}"
        raise InputError(f"{rule}, but {path} has {levels}; copy it again")
    if not all(1 / LARGEST_GAIN <= gain <= LARGEST_GAIN for gain in frame.white_balance):
        gains = ", ".join(f"{gain:g}" for gain in frame.white_balance)
        rule = f"a raw photo's white balance must be from {1 / LARGEST_GAIN:g} to {LARGEST_GAIN:g}"
        raise InputError(f"{rule} times green, but {path} has {gains}; copy it again")
    largest = float(np.abs(frame.camera_to_srgb).max())
    if not (math.isfinite(largest) and largest <= LARGEST_GAIN):
        rule = f"a raw photo's colour matrix must be of numbers up to {LARGEST_GAIN:g}"
        raise InputError(f"{rule}, but {path} has {largest:g} in it; copy it again")


def check_picture_file(path: str | Path) -> None:
    """A PNG or TIFF must be there, of a possible size and complete; others are left to OpenCV."""
    _require_file(path)
    with open(path, "rb") as file:
        head = file.read(24)
        if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) == 24:
            width, height = struct.unpack(">II", head[16:24])
            _check_png_chunks(file, path)
        elif header := _tiff_header(head[:8]):
            fields, _ = _read_directory(file, header[1], header[0])
            height, width = (fields[tag][0] if fields.get(tag) else 0 for tag in (HEIGHT, WIDTH))
        else:
            return
    _check_pixels(height, width, path)


def _require_file(path: str | Path) -> None:
    require_utf8(path)
    if not os.path.isfile(path):
        raise InputError(f"a photo must be a file, but there is none at {path}; check the name")


def _check_last_rows(mosaic: NDArray[np.uint16], path: str | Path) -> None:
    """Refuses the zeros or the repeated row that a decoder leaves which ran out of file.

    No sensor gives two equal rows: they lie under different filters and have noise of their own.
    """
    last, before = mosaic[-1], mosaic[-2]
    empty = not last.any() and not before.any() and bool(mosaic.any())
    repeated = bool((last == before).all()) and bool((last != last[0]).any())
    if empty or repeated:
        raise InputError(
            f"a raw photo must be whole, but the last rows of {path} are missing; copy it again"
        )


def _check_pixels(height: int, width: int, path: str | Path) -> None:
    most = min(MOST_PIXELS, PIXELS_PER_BYTE * os.path.getsize(path))
    if height * width > most:
        raise InputError(
            f"a photo must fit its file, but {path} promises {height} x {width} pixels, and a "
            f"file of its length holds at most {most}; copy it again"
        )


def _check_png_chunks(file: BinaryIO, path: str | Path) -> None:
    """Refuses a chunk beyond the file's end: OpenCV takes memory and many seconds for it."""
    size, at = os.path.getsize(path), 8
    while at + 8 <= size:
        file.seek(at)
        at += 12 + struct.unpack(">I", file.read(4))[0]
        _require_bytes(path, at, size)


def _require_bytes(path: str | Path, needed: int, size: int) -> None:
    if needed > size:
        raise InputError(
            f"a photo must be whole, but {path} ends at byte {size} of {needed}; copy it again"
        )


def _tiff_header(head: bytes) -> tuple[str, int] | None:
    """Byte order (as `struct` writes it) and place of the first directory; None if no TIFF."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
    if order is None or len(head) < 8:
        return None
    return order, struct.unpack(order + "I", head[4:8])[0]


def _read_directory(file: BinaryIO, at: int, order: str) -> tuple[dict[int, tuple[int, ...]], int]:
    """The numbers of NUMBER_TAGS, and where the next directory starts (0: nowhere).

    Of FILTER_TAGS: (start, length in bytes), unless they fit into the directory itself.
    """
    file.seek(at)
    head = file.read(2)
    if len(head) < 2:
        return {}, 0
    (count,) = struct.unpack(order + "H", head)
    entries = file.read(12 * count + 4)
    allowed = MOST_NUMBERS
    fields: dict[int, tuple[int, ...]] = {}
    for entry in range(0, len(entries) // 12 * 12, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", entries, entry)
        value = entries[entry + 8 : entry + 12]
        (start,) = struct.unpack(order + "I", value)
        if tag in FILTER_TAGS:
            length = number * TYPE_BYTES[kind if kind < len(TYPE_BYTES) else 0]
            if length > 4:
                fields[tag] = start, length
        letter = {3: "H", 4: "I", 13: "I"}.get(kind)
        if tag not in NUMBER_TAGS or letter is None or number > allowed:
            continue
        allowed -= number
        length = struct.calcsize(f"{order}{number}{letter}")
        if length > 4:
            file.seek(start)
            value = file.read(length)
        if len(value) >= length:
            fields[tag] = struct.unpack(f"{order}{number}{letter}", value[:length])
    rest = entries[12 * count :]
    return fields, struct.unpack(order + "I", rest)[0] if len(rest) == 4 else 0
