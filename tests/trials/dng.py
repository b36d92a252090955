"""Writes a small uncompressed Bayer DNG, so that tests read true raw files through LibRaw."""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PHASES = {"RGGB": b"\0\1\1\2", "GRBG": b"\1\0\2\1", "GBRG": b"\1\2\0\1", "BGGR": b"\2\1\1\0"}
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

SHORT, LONG, BYTE, ASCII, RATIONAL, SIGNED_RATIONAL = 3, 4, 1, 2, 5, 10


def write_dng(
    path: Path,
    mosaic: NDArray[np.uint16],
    *,
    phase: str = "RGGB",
    black: Sequence[float] = (512, 512, 512, 512),
    repeat: tuple[int, int] = (2, 2),
    active: Sequence[int] = (),
    masked: Sequence[int] = (),
    white: int = 16383,
    neutral: Sequence[float] = (0.5, 1.0, 0.4),
    matrix: Sequence[float] = IDENTITY,
    linear: bool = False,
    cfa: tuple[int, int, bytes] | None = None,
    model: str = "Camera",
    iso: int = 0,
) -> Path:
    """`mosaic` (h w, sensor values) as a DNG. `black` follows the rows of the 2 x 2 cell as it
    lies in the file, or of a pattern of `repeat` rows and columns; fractions are rationals.
    `active` is the visible area and `masked` are those without light: top, left, bottom, right of
    the mosaic. `neutral` is the camera's response to white (white balance = 1 / neutral); `matrix`
    is ColorMatrix1 (XYZ to camera). `linear` says that the file was demosaiced already (mosaic is
    h w 3). `cfa` is another filter array: rows, columns and colours of its cell.
    The file tells an `iso` above 0.
    """
    height, width = mosaic.shape[:2]
    data = mosaic.astype("<u2").tobytes()

    def rational(values: Sequence[float]) -> bytes:
        return b"".join(struct.pack("<ii", round(value * 10000), 10000) for value in values)

    channels = 3 if linear else 1
    rows, columns, cell = cfa or (2, 2, PHASES[phase])
    fields: list[tuple[int, int, int, bytes]] = [
        (254, LONG, 1, struct.pack("<I", 0)),
        (256, LONG, 1, struct.pack("<I", width)),
        (257, LONG, 1, struct.pack("<I", height)),
        (258, SHORT, channels, struct.pack(f"<{channels}H", *[16] * channels)),
        (259, SHORT, 1, struct.pack("<H", 1)),
        (262, SHORT, 1, struct.pack("<H", 34892 if linear else 32803)),
        (271, ASCII, 5, b"Test\0"),
        (272, ASCII, len(model) + 1, model.encode() + b"\0"),
        (273, LONG, 1, b"OFFS"),
        (274, SHORT, 1, struct.pack("<H", 1)),
        (277, SHORT, 1, struct.pack("<H", channels)),
        (278, LONG, 1, struct.pack("<I", height)),
        (279, LONG, 1, struct.pack("<I", len(data))),
        (284, SHORT, 1, struct.pack("<H", 1)),
        (50706, BYTE, 4, b"\1\4\0\0"),
        (50707, BYTE, 4, b"\1\1\0\0"),
        (50708, ASCII, 12, b"Test Camera\0"),
        (50717, LONG, channels, struct.pack(f"<{channels}I", *[white] * channels)),
        (50721, SIGNED_RATIONAL, 9, rational(matrix)),
        (50728, RATIONAL, 3, rational(neutral)),
        (50778, SHORT, 1, struct.pack("<H", 21)),
    ]
    if iso:
        fields.append((34855, SHORT, 1, struct.pack("<H", iso)))
    if not linear:
        fields += [
            (33421, SHORT, 2, struct.pack("<2H", rows, columns)),
            (33422, BYTE, len(cell), cell),
            (50713, SHORT, 2, struct.pack("<2H", *repeat)),
        ]
        if all(float(level).is_integer() for level in black):
            levels = struct.pack(f"<{len(black)}I", *(int(level) for level in black))
            fields.append((50714, LONG, len(black), levels))
        else:
            fields.append((50714, RATIONAL, len(black), rational(black)))
        for tag, edges in ((50829, active), (50830, masked)):
            if edges:
                fields.append((tag, LONG, len(edges), struct.pack(f"<{len(edges)}I", *edges)))
    fields.sort()
    directory = 8 + 2 + 12 * len(fields) + 4
    extra, entries = b"", b""
    pixels = directory + sum(len(value) + len(value) % 2 for *_, value in fields if len(value) > 4)
    for tag, kind, count, value in fields:
        value = struct.pack("<I", pixels) if value == b"OFFS" else value
        if len(value) > 4:
            entries += struct.pack("<HHII", tag, kind, count, directory + len(extra))
            extra += value + b"\0" * (len(value) % 2)
        else:
            entries += struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")
    header = struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + struct.pack("<I", 0)
    path.write_bytes(header + extra + data)
    return path
