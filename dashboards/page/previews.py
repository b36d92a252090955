"""The panels of the trials' previews, cut apart and kept small: what amplifying gives and the
truth once for all networks.

A preview (trials/preview.py) has a row for each held-out pair and in it three panels of one size:
amplified only, restored, ground truth. Each is the picture under a caption, with a white gap below
and to the right.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

CAPTION, GAP, COLUMNS = 24, 6, 3
MOST_PAIRS = 4
# WebP: at this quality noise and blur are still told apart; a thumbnail is only to recognise.
QUALITY, THUMB_QUALITY, THUMB_SIDE = 80, 45, 88

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Panels:
    """One held-out pair in a preview, h w 3 each."""

    amplified: Picture
    restored: Picture
    truth: Picture


@dataclass
class Shared:
    """Pictures as WebP in base64, each stored once: `pictures[key]`, with `keys` by what they
    show.
    """

    pictures: list[str] = field(default_factory=list)
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Characters of all pictures."""
        return sum(map(len, self.pictures))

    def add(self, picture: Picture) -> int:
        """The key of `picture`, which is encoded if it wasn't there yet."""
        digest = hashlib.sha256(picture.tobytes()).hexdigest()
        if digest not in self.keys:
            self.keys[digest] = len(self.pictures)
            self.pictures.append(encoded(picture, QUALITY))
        return self.keys[digest]


def decoded(preview: bytes) -> Picture | None:
    """The preview's pixels, h w 3; None where it is no picture."""
    if not preview:
        return None
    pixels = cv2.imdecode(np.frombuffer(preview, dtype=np.uint8), cv2.IMREAD_COLOR)
    return None if pixels is None else pixels.astype(np.uint8, copy=False)


def cut(preview: Picture) -> list[Panels]:
    """The pairs of a preview, top to bottom; empty where it isn't laid out as one."""
    height, width = preview.shape[:2]
    rows = next((rows for rows in range(MOST_PAIRS, 0, -1) if _has_rows(preview, rows)), 0)
    if not rows or width % COLUMNS:
        return []
    down, along = height // rows, width // COLUMNS
    panels = []
    for row in range(rows):
        top, bottom = row * down + CAPTION, (row + 1) * down - GAP
        amplified, restored, truth = (
            np.ascontiguousarray(preview[top:bottom, column * along : (column + 1) * along - GAP])
            for column in range(COLUMNS)
        )
        panels.append(Panels(amplified, restored, truth))
    return panels


def _has_rows(preview: Picture, rows: int) -> bool:
    """Whether `rows` rows end in a white gap each, and are no taller than their panels' captions
    and pictures can be.
    """
    height = preview.shape[0]
    down = height // rows
    if height % rows or down <= CAPTION + GAP:
        return False
    return all(
        bool((preview[(row + 1) * down - GAP : (row + 1) * down] == 255).all())
        for row in range(rows)
    )


def encoded(picture: Picture, quality: int) -> str:
    """`picture` as WebP in base64."""
    right, data = cv2.imencode(".webp", picture, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if not right:
        raise RuntimeError("a picture could not be encoded as WebP")
    return base64.b64encode(data.tobytes()).decode("ascii")


def thumbnail(picture: Picture) -> str:
    """`picture` small, as WebP in base64."""
    height, width = picture.shape[:2]
    scale = min(1.0, THUMB_SIDE / max(height, width))
    small = cv2.resize(
        picture,
        (max(1, round(width * scale)), max(1, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )
    return encoded(np.asarray(small, dtype=np.uint8), THUMB_QUALITY)
