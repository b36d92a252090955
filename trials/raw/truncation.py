"""Is a raw file whole? Looked up here, because several of LibRaw's decoders don't tell.

They fill what is missing with zeros, or repeat the last row they read, and a network would learn
from that.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from space import InputError

# Fields of a TIFF directory: where the data of strips and tiles begin, how long they are, and
# sub-directories.
STRIPS, STRIP_BYTES, TILES, TILE_BYTES, SUB_DIRECTORIES = 273, 279, 324, 325, 330
WANTED = {256, 257, STRIPS, STRIP_BYTES, TILES, TILE_BYTES, SUB_DIRECTORIES}
# The filter array's size and colours. LibRaw takes what happens to lie in memory where the file
# ends before them.
FILTERS = (33421, 33422)
# Bytes of a number of each type that a TIFF field may have, from 0 on.
BYTES = (1, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 2, 8, 8, 8, 8)
# Numbers of one directory that are looked at: a made-up one might tell millions, again and again.
MOST_NUMBERS = 1_000_000


def refuse_stale_rows(mosaic: NDArray[np.uint16], path: str | Path) -> None:
    """Raises InputError where the last rows are those of a decoder that ran out of file.

    Some of LibRaw's decoders don't say so: they leave zeros, or repeat the last row they read. No
    sensor gives two equal rows: they lie under different colour filters and have noise of their
    own.
    """
    last, before = mosaic[-1], mosaic[-2]
    empty = not last.any() and not before.any() and bool(mosaic.any())
    repeated = bool((last == before).all()) and bool((last != last[0]).any())
    if empty or repeated:
        raise InputError(
            f"a raw photo must be whole, but the last rows of {path} are missing; copy it again"
        )


def refuse_cut_file(path: str | Path) -> None:
    """Raises InputError where a raw file on the base of TIFF (DNG, ARW, NEF, CR2 ...) promises
    data beyond its end.

    Looked up here because several of LibRaw's decoders fill what is missing with whatever they
    have.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(8)
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(head[:4])
        if order is None or len(head) < 8:
            return
        pending = [struct.unpack(order + "I", head[4:8])[0]]
        seen: set[int] = set()
        while pending and len(seen) < 64:
            at = pending.pop()
            if at == 0 or at in seen:
                continue
            seen.add(at)
            if at + 2 > size:
                raise cut_file(path, at, size)
            fields, following = read_directory(file, at, order)
            pending += [following, *fields.get(SUB_DIRECTORIES, ())]
            for start, length in (fields[tag] for tag in FILTERS if tag in fields):
                if start + length > size:
                    raise cut_file(path, start + length, size)
            for starts, lengths in ((STRIPS, STRIP_BYTES), (TILES, TILE_BYTES)):
                for start, length in zip(
                    fields.get(starts, ()), fields.get(lengths, ()), strict=False
                ):
                    if start + length > size:
                        raise cut_file(path, start + length, size)


def cut_file(path: str | Path, needed: int, size: int) -> InputError:
    return InputError(
        f"a raw photo must be whole, but {path} ends at byte {size} of {needed}; copy it again"
    )


def read_directory(file: BinaryIO, at: int, order: str) -> tuple[dict[int, tuple[int, ...]], int]:
    """The whole-number fields that tell where data lies, and where the next directory starts (0:
    nowhere).

    Of FILTERS it is told where they lie and how many bytes they are, unless they are in the
    directory itself.
    """
    file.seek(at)
    told = file.read(2)
    if len(told) < 2:
        return {}, 0
    (count,) = struct.unpack(order + "H", told)
    entries = file.read(12 * count + 4)
    left = MOST_NUMBERS
    fields: dict[int, tuple[int, ...]] = {}
    for index in range(len(entries) // 12):
        tag, kind, number = struct.unpack(order + "HHI", entries[12 * index : 12 * index + 8])
        if tag in FILTERS and (length := number * BYTES[kind if kind < len(BYTES) else 0]) > 4:
            fields[tag] = (
                struct.unpack(order + "I", entries[12 * index + 8 : 12 * index + 12])[0],
                length,
            )
        letter = {3: "H", 4: "I", 13: "I"}.get(kind)
        if tag not in WANTED or letter is None or number > left:
            continue
        left -= number
        length = struct.calcsize(f"{order}{number}{letter}")
        value = entries[12 * index + 8 : 12 * index + 12]
        if length > 4:
            file.seek(struct.unpack(order + "I", value)[0])
            value = file.read(length)
        if len(value) >= length:
            fields[tag] = struct.unpack(f"{order}{number}{letter}", value[:length])
    rest = entries[12 * count :]
    return fields, struct.unpack(order + "I", rest)[0] if len(rest) == 4 else 0
