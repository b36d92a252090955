"""The picture that a trial leaves: for some held-out pairs, what amplifying alone gives, the
restored, the truth.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from space import DarkUNet, restore
from trials.data.pair import Pair
from trials.files import replacing
from trials.scoring.baseline import amplified_only

# Side of a shown part in pixels, its caption's height, and the gap between parts.
SHOWN = 320
CAPTION = 24
GAP = 6
TITLES = ("amplified only", "restored", "ground truth")


@torch.no_grad()
def draw_preview(model: DarkUNet, pairs: list[Pair]) -> NDArray[np.uint8]:
    """One row per pair: amplified only, restored, ground truth; h w 3 RGB."""
    rows = []
    for pair in pairs:
        pictures = (amplified_only(pair.mosaic), restore(model, pair.mosaic), pair.target)
        rows.append(
            np.hstack(
                [_panel(picture, title) for picture, title in zip(pictures, TITLES, strict=True)]
            )
        )
    return np.vstack(rows)


def write_preview(path: Path, model: DarkUNet, pairs: list[Pair]) -> None:
    """Writes `draw_preview` as a PNG, 8 bits; raises OSError where the disk won't take it."""
    right, data = cv2.imencode(".png", draw_preview(model, pairs)[:, :, ::-1])
    if not right:
        raise RuntimeError(f"the preview {path} could not be encoded as PNG")
    with replacing(path) as beside:
        beside.write_bytes(data.tobytes())


def _panel(picture: Tensor, title: str) -> NDArray[np.uint8]:
    """The picture's middle, at most SHOWN pixels a side, under its title."""
    height, width = picture.shape[-2:]
    shown_height, shown_width = min(height, SHOWN), min(width, SHOWN)
    top, left = (height - shown_height) // 2, (width - shown_width) // 2
    middle = picture[0, :, top : top + shown_height, left : left + shown_width].float().clamp(0, 1)
    pixels = (middle * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    panel = np.full((shown_height + CAPTION + GAP, shown_width + GAP, 3), 255, dtype=np.uint8)
    panel[CAPTION : CAPTION + shown_height, :shown_width] = pixels
    cv2.putText(
        panel, title, (2, CAPTION - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (30, 30, 30), 1, cv2.LINE_AA
    )
    return panel
