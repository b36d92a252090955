"""Procedural scenes, drawn once and kept on disk: the next process of the same study has them in a
moment.

A file is a line of its own (what it is, and the SHA-256 of the rest) and the scenes' numbers. One
that is not what was written, or can't be, is no error: the scenes are drawn anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.data.scenes import draw_scene
from trials.files import replacing

MAGIC = b"dark-nas scenes 1 "


def cached_scenes(
    seeds: Sequence[int],
    size: int,
    *,
    recipe: int,
    folder: Path | None = None,
    on_drawn: Callable[[int], None] | None = None,
) -> Tensor:
    """The scenes of `baselines`, linear camera RGB (n 3 size size, half), from `folder` where they are
    there, else drawn and kept.

    `recipe` is the number of the code that draws: another number, other files. `on_drawn` is told
    how many there are.
    """
    shape = (len(seeds), 3, size, size)
    key = hashlib.sha256(repr((recipe, size, list(seeds))).encode()).hexdigest()[:16]
    path = folder / f"scenes-{key}.bin" if folder is not None else None
    values = _read(path, shape) if path is not None else None
    if values is None:
        values = _draw(seeds, shape, on_drawn)
        if path is not None:
            _keep(path, values)
    elif on_drawn:
        on_drawn(len(seeds))
    return torch.from_numpy(values)


def _draw(
    seeds: Sequence[int], shape: tuple[int, ...], on_drawn: Callable[[int], None] | None
) -> NDArray[np.float16]:
    values = np.empty(shape, np.float16)
    # NumPy and OpenCV let go of Python's lock while they compute, so threads draw faster than one.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 4)) as threads:
        for index, scene in enumerate(
            threads.map(lambda seed: draw_scene(shape[-1], seed), seeds)
        ):
            values[index] = torch.from_numpy(scene).permute(2, 0, 1).half().numpy()
            if on_drawn:
                on_drawn(index + 1)
    return values


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.float16] | None:
    values = np.empty(shape, np.float16)
    try:
        with path.open("rb") as file:
            head = file.readline()
            whole = file.readinto(values.data.cast("B")) == values.nbytes and not file.read(1)
    except OSError:
        return None
    return values if whole and head == _head(values) else None


def _keep(path: Path, values: NDArray[np.float16]) -> None:
    with contextlib.suppress(OSError):  # a full disk: whoever must write will tell
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside, beside.open("wb") as file:
            file.write(_head(values))
            file.write(values.data)


def _head(values: NDArray[np.float16]) -> bytes:
    return MAGIC + hashlib.sha256(values.data).hexdigest().encode() + b"\n"
