"""Real photo files for tests: what people have in a folder."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from dng import write_dng
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def draw_photo(height: int, width: int, seed: int = 0) -> Picture:
    """A colourful picture with smooth and sharp parts, h w 3, red first, hardly clipped."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (max(height // 24, 2), max(width // 24, 2), 3))
    picture = cv2.resize(
        coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR
    )
    for _ in range(6):
        corner, far = rng.integers(0, min(height, width), (2, 2)).tolist()
        cv2.rectangle(picture, corner, far, rng.uniform(30, 220, 3).tolist(), -1)
    return picture.round().astype(np.uint8)


def write_photo(path: Path, picture: NDArray[np.generic]) -> Path:
    """`picture` (h w 3, red first, or h w) as the suffix says."""
    bgr = picture[..., ::-1] if picture.ndim == 3 and picture.shape[2] == 3 else picture
    is_jpeg = path.suffix.lower() in (".jpg", ".jpeg")
    options = [cv2.IMWRITE_JPEG_QUALITY, 98] if is_jpeg else []
    assert cv2.imwrite(str(path), np.ascontiguousarray(bgr), options)
    return path


def turned_jpeg(path: Path, picture: Picture, orientation: int) -> Path:
    """A JPEG with EXIF's orientation (1 to 8) in it."""
    write_photo(path, picture)
    entry = struct.pack(">HHIHH", 274, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    segment = b"Exif\0\0" + tiff
    data = path.read_bytes()
    path.write_bytes(
        data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    )
    return path


def write_raw(path: Path, picture: Picture) -> Path:
    """`picture` as the RGGB mosaic of a raw file, well exposed."""
    light = (picture.astype(np.float64) / 255) ** 2.2
    height, width = picture.shape[:2]
    mosaic = np.empty((height, width))
    for row, column, colour, neutral in (
        (0, 0, 0, 0.5),
        (0, 1, 1, 1),
        (1, 0, 1, 1),
        (1, 1, 2, 0.4),
    ):
        mosaic[row::2, column::2] = neutral * light[row::2, column::2, colour]
    return write_dng(path, (512 + mosaic * (16383 - 512)).round().astype(np.uint16))
