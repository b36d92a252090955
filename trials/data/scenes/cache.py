"""Procedural scenes, drawn once and stored on disk for the next process of the same study.

A file that is damaged, or can't be written, is no error: the scenes are drawn anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.data.scenes.drawing import draw_scene
from trials.files import replacing


def cached_scenes(
    scene_seeds: Sequence[int],
    size: int,
    *,
    palette: str,
    recipe: int,
    folder: Path | None = None,
    on_drawn: Callable[[int], None] | None = None,
) -> Tensor:
    """The scenes of `scene_seeds`: linear, n 3 size size, half precision.

    They are read from `folder`, or drawn and stored there. `recipe` is the version of the code
    that draws: another version, other files. `on_drawn` is called with the number drawn so far.
    """
    shape = (len(scene_seeds), 3, size, size)
    key = hashlib.sha256(repr((recipe, palette, size, list(scene_seeds))).encode()).hexdigest()[
        :16
    ]
    path = folder / f"scenes-{key}.npz" if folder else None
    values = _read(path, shape) if path else None
    if values is None:
        values = _draw(scene_seeds, shape, palette, on_drawn)
        if path:
            with contextlib.suppress(OSError):  # a full disk: whoever must write will say so
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.savez(file, scenes=values)
    elif on_drawn:
        on_drawn(len(scene_seeds))
    return torch.from_numpy(values)


def _draw(
    scene_seeds: Sequence[int],
    shape: tuple[int, ...],
    palette: str,
    on_drawn: Callable[[int], None] | None,
) -> NDArray[np.float16]:
    values = np.empty(shape, np.float16)
    # NumPy and OpenCV release the interpreter's lock while they compute.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as threads:
        scenes = threads.map(partial(draw_scene, shape[-1], palette=palette), scene_seeds)
        for index, scene in enumerate(scenes):
            values[index] = torch.from_numpy(scene).permute(2, 0, 1).half().numpy()
            if on_drawn:
                on_drawn(index + 1)
    return values


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float16] | None:
    """The stored scenes, checked by the archive's CRC-32; None where they are not intact."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            values: NDArray[np.float16] = archive["scenes"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return values if values.shape == shape and values.dtype == np.float16 else None
