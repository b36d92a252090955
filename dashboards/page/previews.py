"""The panels of the trials' previews, cut apart, with amplified and truth stored only once.

A preview (trials.outputs.draw_preview) has a row for each held-out pair, three panels of one size:
amplified only, restored, ground truth. Each is the picture under a caption, with a white gap below
and to the right.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CAPTION, GAP, COLUMNS = 24, 6, 3
MOST_PAIRS = 4
# WebP: at this quality noise and blur still differ; a thumbnail is only to recognise.
QUALITY, THUMB_QUALITY, THUMB_SIDE = 80, 45, 88

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Panels:
    """One held-out pair in a preview, [height, width, 3] each."""

    amplified: Picture
    restored: Picture
    truth: Picture


class SharedPictures:
    """`pictures`, WebP in base64, with each added once."""

    def __init__(self, pictures: list[str]) -> None:
        self.pictures = pictures
        self._indices: dict[bytes, int] = {}

    @property
    def size(self) -> int:
        """Characters of all pictures."""
        return sum(map(len, self.pictures))

    def add(self, picture: Picture) -> int:
        """The index of `picture`, which is encoded if it wasn't there yet."""
        digest = hashlib.sha256(picture.tobytes()).digest()
        if digest not in self._indices:
            self._indices[digest] = len(self.pictures)
            self.pictures.append(_encode(picture, QUALITY))
        return self._indices[digest]


def decode(preview: bytes) -> Picture | None:
    """The preview's pixels, [height, width, 3]; None where it is no picture."""
    if not preview:
        return None
    pixels = cv2.imdecode(np.frombuffer(preview, dtype=np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def cut(preview: Picture) -> list[Panels]:
    """The pairs of a preview, top to bottom; empty where it isn't laid out as one."""
    rows = next((rows for rows in range(MOST_PAIRS, 0, -1) if _has_rows(preview, rows)), 0)
    if not rows or preview.shape[1] % COLUMNS:
        return []
    return [
        Panels(*(np.ascontiguousarray(panel[CAPTION:-GAP, :-GAP]) for panel in panels))
        for panels in (np.split(row, COLUMNS, axis=1) for row in np.split(preview, rows))
    ]


def _has_rows(preview: Picture, rows: int) -> bool:
    """Whether `rows` rows of one height, with room for a caption, end in a white gap each."""
    height, rest = divmod(preview.shape[0], rows)
    if rest or height <= CAPTION + GAP:
        return False
    return all(bool((row[-GAP:] == 255).all()) for row in np.split(preview, rows))


def thumbnail(picture: Picture) -> str:
    """`picture` small, as WebP in base64."""
    height, width = picture.shape[:2]
    scale = min(1.0, THUMB_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return _encode(np.asarray(small, dtype=np.uint8), THUMB_QUALITY)


def _encode(picture: Picture, quality: int) -> str:
    success, data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not success:
        raise RuntimeError("a picture could not be encoded as WebP")
    return base64.b64encode(data.tobytes()).decode("ascii")
