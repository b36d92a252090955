"""The black level of a raw photo, as exactly as its file tells it.

LibRaw hands out whole numbers, rounded down; but where a dark photo's signal is 5 steps of the
raw value, half a step is a colour cast. So a DNG's own tags are read: levels that are fractions, a
pattern of levels, and the areas of the sensor that no light reaches (Adobe, "Digital Negative
(DNG) Specification", 1.7: BlackLevel, BlackLevelRepeatDim, ActiveArea, MaskedAreas). Masked pixels
tell the level of this very frame, which drifts with temperature and exposure; they win, unless
they lie so far from the stated level that they can't be masked. Of other formats LibRaw's numbers
are taken; some cameras' masked pixels it has averaged itself.

A stated level is not quite the true one: where the camera was calibrated (sensor.py), its error at
the photo's ISO is known. A level measured on the frame itself has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from space import InputError
from trials.raw.sensor import black_error_dn
from trials.raw.tiff_tags import model_and_iso, read_tags

Cell = tuple[float, float, float, float]
"""A number for each place of the RGGB cell."""

DNG_VERSION, CFA = 50706, 32803
PHOTOMETRIC, REPEAT_DIM, BLACK_LEVEL, MASKED_AREAS = 262, 50713, 50714, 50830
# Fewer pixels would tell the level less well than the tag: noise of 5 steps over 1,000 is 0.16.
FEWEST_MASKED = 1000
# Masked pixels farther from the stated level, as a share of the range from black to white, or
# of so many steps, are no masked ones (light leaks in, or the areas are wrong).
FARTHEST_SHARE, FARTHEST_STEPS = 0.01, 16.0
# Hot pixels are left out: beyond so many deviations, estimated by the median's.
OUTLIER = 5.0
# A deeper nest of directories than any camera's.
DEEPEST = 4


@dataclass(frozen=True)
class BlackTags:
    """What a DNG states."""

    pattern: NDArray[np.float64]
    """rows columns, repeating from the first visible pixel on."""
    masked: list[tuple[int, int, int, int]]
    """Top, left, bottom, right of areas without light, in pixels of the sensor."""


def black_of(raw: Any, offset: tuple[int, int], path: str | Path) -> tuple[Cell, float]:
    """The black level of each place of the RGGB cell, and how far the true one is known to lie
    above it, in sensor values.

    `raw` is the unpacked rawpy file, `offset` the rows and columns before the first red. Raises
    InputError for a pattern of levels that differs from cell to cell.
    """
    top, left = offset
    levels, pattern = raw.black_level_per_channel, raw.raw_pattern
    colours = (pattern[(top + row) % 2, (left + column) % 2] for row, column in PLACES)
    first, second, third, fourth = (float(levels[colour]) for colour in colours)
    black: Cell = (first, second, third, fourth)
    tags = read_black_tags(path)
    if tags is None:
        return black, black_error_dn(*model_and_iso(path))
    black = _stated(tags.pattern, offset, path)
    measured = _measured(raw, tags.masked, offset)
    farthest = max(FARTHEST_STEPS, FARTHEST_SHARE * (raw.white_level - max(black)))
    if measured and max(abs(a - b) for a, b in zip(measured, black, strict=True)) <= farthest:
        return measured, 0.0
    return black, black_error_dn(*model_and_iso(path))


PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))


def read_black_tags(path: str | Path) -> BlackTags | None:
    """What a DNG states of its black level; None of another file, and where it states nothing."""

    def read(pages: Any) -> BlackTags | None:
        if DNG_VERSION not in pages[0].tags:
            return None
        tags = _cfa_tags(pages, DEEPEST)
        return None if tags is None else _parsed(tags)

    return read_tags(path, read)


def _cfa_tags(pages: Any, deepest: int) -> Any:
    """The tags of the directory that holds the sensor's values."""
    for page in pages:
        if PHOTOMETRIC in page.tags and int(page.tags[PHOTOMETRIC].value) == CFA:
            return page.tags
        if deepest and page.pages and (found := _cfa_tags(page.pages, deepest - 1)) is not None:
            return found
    return None


def _parsed(tags: Any) -> BlackTags | None:
    if BLACK_LEVEL not in tags:
        return None
    rows, columns = _numbers(tags[REPEAT_DIM]) if REPEAT_DIM in tags else (1.0, 1.0)
    values = _numbers(tags[BLACK_LEVEL])
    shape = int(rows), int(columns)
    if min(shape) < 1 or len(values) != shape[0] * shape[1] or not np.isfinite(values).all():
        return None
    areas = _numbers(tags[MASKED_AREAS]) if MASKED_AREAS in tags else []
    edges = [int(edge) for edge in areas[: len(areas) // 4 * 4]]
    masked = [
        (edges[i], edges[i + 1], edges[i + 2], edges[i + 3]) for i in range(0, len(edges), 4)
    ]
    return BlackTags(np.array(values).reshape(shape), masked)


def _numbers(tag: Any) -> list[float]:
    """A tag's values; rationals lie in it as numerators and denominators."""
    value = tag.value
    values = [float(one) for one in (value if isinstance(value, tuple) else (value,))]
    if tag.dtype in (tifffile.DATATYPE.RATIONAL, tifffile.DATATYPE.SRATIONAL):
        return [above / below for above, below in zip(values[::2], values[1::2], strict=True)]
    return values


def _stated(pattern: NDArray[np.float64], offset: tuple[int, int], path: str | Path) -> Cell:
    rows, columns = pattern.shape
    twice = pattern[np.ix_(np.arange(2 * rows) % rows, np.arange(2 * columns) % columns)]
    if not (
        np.array_equal(twice, np.roll(twice, 2, axis=0))
        and np.array_equal(twice, np.roll(twice, 2, axis=1))
    ):
        raise InputError(
            f"a raw's black level must repeat with the 2 x 2 Bayer cell, but that of {path} is a "
            f"{rows} x {columns} pattern; convert it with its black subtracted"
        )
    top, left = offset
    first, second, third, fourth = (
        float(pattern[(top + row) % rows, (left + column) % columns]) for row, column in PLACES
    )
    return first, second, third, fourth


def _measured(
    raw: Any, areas: Sequence[tuple[int, int, int, int]], offset: tuple[int, int]
) -> Cell | None:
    """The masked pixels' mean at each place, hot ones left out; None where there are too few."""
    values, sizes = raw.raw_image, raw.sizes
    # Parts of whole rows and columns from the first red on, so that places are every second.
    top, left = sizes.top_margin + offset[0], sizes.left_margin + offset[1]
    places: list[list[NDArray[np.float64]]] = [[], [], [], []]
    for first, begin, last, end in areas:
        height, width = values.shape
        first, last = sorted((min(max(first, 0), height), min(max(last, 0), height)))
        begin, end = sorted((min(max(begin, 0), width), min(max(end, 0), width)))
        for index, (row, column) in enumerate(PLACES):
            down, right = (top + row - first) % 2, (left + column - begin) % 2
            part = values[first + down : last : 2, begin + right : end : 2]
            places[index].append(part.astype(np.float64).ravel())
    means = [_robust_mean(np.concatenate(parts)) for parts in places if parts]
    if len(means) < len(PLACES) or None in means:
        return None
    first_mean, second, third, fourth = (float(mean or 0.0) for mean in means)
    return first_mean, second, third, fourth


def _robust_mean(values: NDArray[np.float64]) -> float | None:
    if values.size < FEWEST_MASKED:
        return None
    median = np.median(values)
    # 1.4826 times the median absolute deviation is a normal distribution's deviation; values are
    # whole numbers, so that it may be zero.
    deviation = max(1.4826 * float(np.median(np.abs(values - median))), 1.0)
    return float(values[np.abs(values - median) <= OUTLIER * deviation].mean())
