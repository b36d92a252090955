"""The files that a finished trial or training writes: weights, learning curve, preview, result.

The preview shows some held-out pairs and a colour chart: only amplified, restored, and the truth.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from space import DarkUNet, NetworkInput, restore
from trials.config import DataConfig
from trials.data.pair import Pair, to_show
from trials.files import replacing
from trials.scoring.baseline import amplified_only
from trials.scoring.colour_chart import shown_pair
from trials.training import write_curve

# The largest side of a panel in a preview, its caption's height and the gap in pixels.
PANEL, CAPTION, GAP = 320, 24, 6
SMALLEST_CHART = 96
TITLES = ("amplified only", "restored", "ground truth")


def write_outputs(
    folder: Path,
    model: DarkUNet,
    rows: Iterable[Mapping[str, float]],
    pairs: Sequence[Pair],
    config: DataConfig,
) -> None:
    """Writes weights.safetensors, curve.csv (of `rows`) and preview.png (of some of `pairs`).

    Raises OSError where the disk is full.
    """
    write_weights(folder / "weights.safetensors", model, config.network_input)
    write_curve(folder / "curve.csv", rows)
    preview = draw_preview(model, with_chart(to_show(pairs), config))
    encoded, data = cv2.imencode(".png", preview[:, :, ::-1])
    if not encoded:
        raise RuntimeError(f"the preview in {folder} could not be encoded as PNG")
    with replacing(folder / "preview.png") as temporary:
        temporary.write_bytes(data.tobytes())


def write_weights(path: Path, model: DarkUNet, network_input: NetworkInput) -> None:
    """Writes the weights as trained (with weight norm), the genome, and which input they want."""
    state = {name: one.detach().cpu().contiguous() for name, one in model.state_dict().items()}
    metadata = {"genome": model.genome.to_json(), **network_input.metadata()}
    with replacing(path) as temporary:
        save_file(state, temporary, metadata=metadata)


def with_chart(pairs: Sequence[Pair], config: DataConfig) -> list[Pair]:
    """`pairs` and a colour chart, photographed by the simulated camera, in their panels' size."""
    sides = pairs[0].mosaic.shape[-2:] if pairs else (PANEL, PANEL)
    # Smaller, its patches would be a few pixels, and no picture of colours.
    height, width = (max(min(side, PANEL), SMALLEST_CHART) for side in sides)
    if pairs and (height, width) != tuple(min(side, PANEL) for side in sides):
        return list(pairs)
    chart = shown_pair(config, (height, width))
    if not pairs:
        return [chart]
    device = pairs[0].mosaic.device
    mosaic, target = chart.mosaic.to(device), chart.target.to(device)
    return [*pairs, Pair(chart.name, mosaic, target)]


@torch.no_grad()
def draw_preview(model: DarkUNet, pairs: Iterable[Pair]) -> NDArray[np.uint8]:
    """One row per pair: amplified only, restored, ground truth; h w 3 RGB."""
    rows = ((amplified_only(one.mosaic), restore(model, one.mosaic), one.target) for one in pairs)
    return np.vstack([preview_row(images) for images in rows])


def preview_row(images: Sequence[Tensor]) -> NDArray[np.uint8]:
    """The middles of images (1 3 h w, [0, 1]) under their TITLES; h w 3 RGB."""
    return np.hstack([_panel(image, title) for image, title in zip(images, TITLES, strict=True)])


def _panel(image: Tensor, title: str) -> NDArray[np.uint8]:
    height, width = (min(side, PANEL) for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    middle = image[0, :, top : top + height, left : left + width].float().clamp(0, 1) * 255
    panel = np.full((height + CAPTION + GAP, width + GAP, 3), 255, dtype=np.uint8)
    pixels = middle.round().byte().permute(1, 2, 0).cpu().numpy()
    panel[CAPTION : CAPTION + height, :width] = pixels
    font, colour = cv2.FONT_HERSHEY_SIMPLEX, (30, 30, 30)
    cv2.putText(panel, title, (2, CAPTION - 8), font, 0.5, colour, 1, cv2.LINE_AA)
    return panel
