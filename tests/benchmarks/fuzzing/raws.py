"""Raw photos and ground truths: an accepted one has the values, the size and the levels that its
file tells, all of them sane.

LibRaw and OpenCV are native code: the process that runs this may die or hang, which the one that
started it sees.
"""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from fuzzing.checks import require
from fuzzing.mutate import damaged
from trials.raw.amplification import exposure_of
from trials.raw.reader import (
    RawFrame,
    develop_raw,
    read_exposure,
    read_frame,
    read_full_frame,
    read_picture,
    read_target,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "trials"))
from dng import PHASES, write_dng
from sid_folder import XTRANS

KINDS = (1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16, 0, 255)
NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    8,
    12,
    15,
    16,
    24,
    32,
    255,
    256,
    1000,
    34892,
    32803,
    65535,
    65536,
    10**6,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
# Fields of TIFF and DNG whose values decide how memory is taken.
TAGS = (
    254,
    256,
    257,
    258,
    259,
    262,
    273,
    274,
    277,
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
    330,
    339,
    33421,
    33422,
    34665,
    50706,
    50707,
    50709,
    50710,
    50711,
    50712,
    50713,
    50714,
    50715,
    50717,
    50718,
    50719,
    50720,
    50721,
    50728,
    50730,
    50733,
    50778,
    50829,
    50830,
    50975,
    51008,
    51009,
    51022,
)
# How raw files of other makers begin.
HEADS = [
    b"FUJIFILMCCD-RAW 0201FF159502X-Pro1",
    b"FOVb\0\0\2\0",
    b"II\x1a\0\0\0HEAPCCDR",
    b"\0MRM\0\0\1\0",
    b"II*\0\x10\0\0\0CR\2\0",
    b"IIU\0\x18\0\0\0",
    b"IIRO\x08\0\0\0",
    b"MMOR\0\0\0\x08",
    b"\0\0\0\x18ftypcrx \0\0\0\1",
    b"RIFF\0\1\0\0AVI ",
    b"ARRI\x12\x34\x56\x78",
    b"NOKIARAW",
    b"BRCMo",
    b"\xff\xd8\xff\xe1\0\x18Exif\0\0II*\0",
    b"qktk",
    b"RAW\0",
    b"DSC-Image",
    b"PWAD",
    b"BM",
    b"IIII",
    b"MM\0*\0\0\0\x08",
    b"SMaL",
    b"XPDS",
]


class Raws:
    name = "raw"

    def __init__(self, place: Path) -> None:
        folder = place / "raws"
        folder.mkdir()
        rng = np.random.default_rng(1)
        values = rng.integers(512, 3000, (66, 98)).astype(np.uint16)
        files = [write_dng(folder / f"{phase}.dng", values, phase=phase) for phase in PHASES]
        files.append(write_dng(folder / "xtrans.dng", values, cfa=(6, 6, XTRANS)))
        files.append(
            write_dng(
                folder / "linear.dng",
                rng.integers(0, 9000, (40, 40, 3)).astype(np.uint16),
                linear=True,
            )
        )
        picture = rng.integers(0, 65536, (40, 48, 3)).astype(np.uint16)
        for suffix in (".png", ".tiff"):
            files.append(folder / f"a{suffix}")
            cv2.imwrite(str(files[-1]), picture)
        self.bases = [(path.suffix, path.read_bytes()) for path in files]

    def prepare(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        suffix, data = chance.choice(self.bases)
        how = chance.choices(("fields", "header", "whole", "other"), (8, 5, 2, 2))[0]
        if how == "fields" and data[:4] == b"II*\0":
            data = _other_fields(data, chance)
        elif how == "other":
            suffix, data = (
                ".dng",
                chance.choice(HEADS) + chance.randbytes(chance.choice([0, 8, 100, 5000])),
            )
        elif how == "whole":
            data = damaged(data, chance)
        else:
            data = damaged(data, chance, within=600)
        name = chance.choice(
            ["00001_00_0.1s", "00001_00_0.1s", "é漢", "a\nb", "x" * 200, "\udcff"]
        )
        path = folder / (name + suffix)
        path.write_bytes(data)
        how = (
            chance.choice(("raw", "whole", "target", "exposure"))
            if suffix == ".dng"
            else "picture"
        )
        return lambda: _try(path, how)


def _try(path: Path, how: str) -> None:
    if how == "picture":
        picture = read_picture(path)
        require(
            picture.dtype == np.uint16 and picture.ndim == 3 and picture.shape[2] == 3,
            "it is no picture of 16 bits",
        )
    elif how == "raw":
        frame = read_frame(path)
        _check(frame)
        mosaic = frame.normalised()
        require(
            bool(np.isfinite(mosaic).all()) and mosaic.min() >= 0 and mosaic.max() <= 1,
            "it is not in [0, 1]",
        )
    elif how == "whole":
        whole = read_full_frame(path)
        _check(whole.frame)
        rows, columns = whole.visible
        high, wide = whole.frame.mosaic.shape
        require(
            0 <= rows.start < rows.stop <= high and 0 <= columns.start < columns.stop <= wide,
            "its picture is not in it",
        )
        require(0 <= whole.flip < 8, f"its flip is {whole.flip}")
    elif how == "target":
        frame = read_frame(path)
        size = (frame.mosaic.shape[0], frame.mosaic.shape[1])
        require(
            read_target(path, frame.offset, size).shape == (*size, 3),
            "its development has another size",
        )
        require(develop_raw(path).dtype == np.uint16, "its development has not 16 bits")
    else:
        require(
            all(value >= 0 for value in vars(read_exposure(path)).values()),
            "its exposure is below zero",
        )
        require(exposure_of(path).seconds > 0, "its exposure takes no time")


def _check(frame: RawFrame) -> None:
    height, width = frame.mosaic.shape
    require(
        height % 2 == width % 2 == 0 and min(height, width) >= 2, f"its size is {height} x {width}"
    )
    require(
        frame.mosaic.dtype == np.uint16 and set(frame.offset) <= {0, 1}, "it is none of a sensor's"
    )
    require(
        min(frame.black) >= 0 and max(frame.black) < frame.white_level <= 65535,
        "its levels make no sense",
    )
    require(
        all(np.isfinite(gain) and gain > 0 for gain in frame.white_balance),
        "its white balance makes no sense",
    )
    require(bool(np.isfinite(frame.camera_to_srgb).all()), "its colours make no sense")


def _other_fields(data: bytes, chance: random.Random) -> bytes:
    """A little-endian TIFF whose first directory has other fields: tag, type, count or value."""
    out = bytearray(data)
    (at,) = struct.unpack_from("<I", out, 4)
    (count,) = struct.unpack_from("<H", out, at)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        entry = at + 2 + 12 * chance.randrange(count)
        part = chance.choice(("tag", "kind", "count", "value", "value", "value", "far"))
        if part == "tag":
            struct.pack_into("<H", out, entry, chance.choice(TAGS))
        elif part == "kind":
            struct.pack_into("<H", out, entry + 2, chance.choice(KINDS))
        elif part == "count":
            struct.pack_into("<I", out, entry + 4, chance.choice(NUMBERS))
        elif part == "value":
            struct.pack_into(
                "<I",
                out,
                entry + 8,
                chance.choice([*NUMBERS, len(out) - 1, at, entry, chance.randrange(2**32)]),
            )
        else:  # what the field points to
            (place,) = struct.unpack_from("<I", out, entry + 8)
            if place + 4 <= len(out):
                struct.pack_into("<I", out, place, chance.choice(NUMBERS))
    return bytes(out)
