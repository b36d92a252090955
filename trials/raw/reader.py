"""Any Bayer camera's raw file as one kind of mosaic: RGGB, black subtracted, [0, 1].

The colour filter array (CFA) starts with red, green or blue, depending on the camera. It is
aligned to RGGB by cropping a row, a column or both, never by mirroring, so that picture and ground
truth stay in register. LibRaw, through rawpy, does the decoding.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rawpy
from numpy.typing import NDArray

from space import InputError
from trials.files import require_utf8
from trials.raw.levels import refuse_absurd_levels, refuse_absurd_picture, refuse_absurd_size
from trials.raw.truncation import refuse_cut_file, refuse_stale_rows

RED, GREEN, BLUE = range(
    3
)  # LibRaw's numbers of the colours; the second green of a Bayer cell is 3
PICTURE_SUFFIXES = (".tif", ".tiff", ".png")
SMALLEST_SIDE = 4


class NotBayerError(InputError):
    """A raw file whose sensor has no 2 x 2 Bayer pattern."""


@dataclass(frozen=True)
class RawFrame:
    """A raw file as decoded, in sensor values."""

    mosaic: NDArray[np.uint16]
    """h w, RGGB, even size."""
    black: tuple[float, float, float, float]
    """Black level of each place of the RGGB cell, in sensor values."""
    white_level: float
    white_balance: tuple[float, float, float]
    """The camera's gains for red, green (1) and blue, for the light it saw."""
    offset: tuple[int, int]
    """Rows and columns cropped at the top left to start with red."""
    camera_to_srgb: NDArray[np.float32]
    """3 x 3, white-balanced camera RGB to linear sRGB."""

    def normalised(self) -> NDArray[np.float32]:
        """The mosaic with black at 0 and white at 1; values outside are cut off."""
        return normalise(self.mosaic, self.black, self.white_level)


@dataclass(frozen=True)
class WholeFrame:
    """All that the camera shows of a raw file, in sensor values."""

    frame: RawFrame
    """Its mosaic starts with red too, but nothing is cropped: up to a row and a column are
    mirrored in on each side.
    """
    picture: tuple[slice, slice]
    """The rows and columns of the mosaic that are the camera's."""
    flip: int
    """How the camera was held, in LibRaw's bits: 1 and 2 mirror columns and rows, then 4 swaps the
    two.
    """


@dataclass(frozen=True)
class RawImage:
    """A raw photo: what a network is fed with, before amplification."""

    mosaic: NDArray[np.float32]
    """h w, RGGB, even size, black 0, white 1."""
    white_balance: tuple[float, float, float]
    offset: tuple[int, int]
    black: tuple[float, float, float, float]
    white_level: float
    camera_to_srgb: NDArray[np.float32]


def read_raw(path: str | Path) -> RawImage:
    """The raw photo at `path`, aligned to RGGB, black subtracted per colour, in [0, 1]. Raises as
    `read_frame`.
    """
    frame = read_frame(path)
    return RawImage(
        mosaic=frame.normalised(),
        white_balance=frame.white_balance,
        offset=frame.offset,
        black=frame.black,
        white_level=frame.white_level,
        camera_to_srgb=frame.camera_to_srgb,
    )


def read_frame(path: str | Path) -> RawFrame:
    """The raw photo at `path` in sensor values.

    Raises InputError for a file that is missing, no raw, truncated or makes no sense, and
    NotBayerError for a sensor without a 2 x 2 Bayer pattern (X-Trans, Foveon, monochrome,
    demosaiced DNG).
    """
    with open_raw(path) as raw:
        top, left = bayer_offset(raw, path)
        values = visible(raw, path)
        height, width = (values.shape[0] - top) // 2 * 2, (values.shape[1] - left) // 2 * 2
        mosaic = np.array(values[top : top + height, left : left + width], dtype=np.uint16)
        refuse_stale_rows(mosaic, path)
        return frame_of(raw, mosaic, (top, left), path)


def read_whole(path: str | Path) -> WholeFrame:
    """The raw photo at `path` with every row and column that the camera shows. Raises as
    `read_frame`.

    Where the sensor's first row or column doesn't hold red, one is mirrored in before it; so are
    the last ones where their number is odd.
    """
    with open_raw(path) as raw:
        above, left = bayer_offset(raw, path)  # as many to add as to crop: one or none
        values = visible(raw, path)
        height, width = values.shape
        refuse_stale_rows(values, path)
        added = (above, (above + height) % 2), (left, (left + width) % 2)
        # Mirroring about the first or last row keeps the colours: they alternate.
        mosaic = np.pad(values, added, mode="reflect").astype(np.uint16, copy=False)
        picture = slice(above, above + height), slice(left, left + width)
        return WholeFrame(frame_of(raw, mosaic, (above, left), path), picture, int(raw.sizes.flip))


def read_exposure(path: str | Path) -> tuple[float, float, float]:
    """Exposure time in seconds, ISO and f-number that the file tells; 0 for each that it doesn't.
    Raises InputError.
    """
    with open_raw(path, unpack=False) as raw:
        told = getattr(raw, "other", None)  # older rawpy doesn't have it
        names = ("shutter_speed", "iso_speed", "aperture")
        seconds, iso, aperture = (max(float(getattr(told, name, 0.0)), 0.0) for name in names)
        return seconds, iso, aperture


def visible(raw: Any, path: str | Path) -> NDArray[np.uint16]:
    """The part of an unpacked sensor that the camera shows, a view; InputError where that is less
    than a few cells.
    """
    values: NDArray[np.uint16] = raw.raw_image_visible
    if values.ndim != 2 or min(values.shape) < SMALLEST_SIDE:
        raise InputError(
            f"a raw photo must have at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels, "
            f"but {path} has "
            f"{' x '.join(map(str, values.shape))}; copy it again"
        )
    return values


def frame_of(
    raw: Any, mosaic: NDArray[np.uint16], offset: tuple[int, int], path: str | Path
) -> RawFrame:
    """`mosaic` with what the opened file says about it; `offset` is where its sensor's first red
    lies. Raises InputError for levels that no camera has.
    """
    top, left = offset
    levels, pattern = raw.black_level_per_channel, raw.raw_pattern
    beside_red, below_red = pattern[top, 1 - left], pattern[1 - top, left]
    frame = RawFrame(
        mosaic=mosaic,
        black=(
            float(levels[RED]),
            float(levels[beside_red]),
            float(levels[below_red]),
            float(levels[BLUE]),
        ),
        white_level=float(raw.white_level),
        white_balance=white_balance(raw),
        offset=offset,
        camera_to_srgb=camera_matrix(raw),
    )
    refuse_absurd_levels(frame, path)
    return frame


def read_target(
    path: str | Path, offset: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.uint16]:
    """Ground truth, h w 3, sRGB, 0 to 65535, in register with a mosaic of `size` that was cropped
    by `offset`.

    A raw file is developed by SID's recipe (Chen et al., "Learning to See in the Dark", CVPR
    2018): LibRaw with the camera's white balance and no automatic brightening. A TIFF or PNG of 16
    bits is taken as it is. Raises InputError for a file that can't be read, has not 16 bits or
    three channels, or has another size.
    """
    picture = (
        read_picture(path) if Path(path).suffix.lower() in PICTURE_SUFFIXES else develop_raw(path)
    )
    whole = (picture.shape[0] - offset[0]) // 2 * 2, (picture.shape[1] - offset[1]) // 2 * 2
    if whole != size:
        raise InputError(
            f"ground truth must be as large as its raw photo, but {path} gives {whole[0]} "
            f"x {whole[1]} and the raw "
            f"{size[0]} x {size[1]}; take both from the same camera"
        )
    top, left = offset
    return np.ascontiguousarray(picture[top : top + size[0], left : left + size[1]])


def develop_raw(path: str | Path) -> NDArray[np.uint16]:
    """The raw file at `path` developed by SID's recipe: h w 3, sRGB, 0 to 65535."""
    with open_raw(path) as raw:
        picture: NDArray[np.uint16] = raw.postprocess(
            use_camera_wb=True, half_size=False, no_auto_bright=True, output_bps=16, user_flip=0
        )
        if picture.ndim != 3 or picture.shape[2] != 3:
            raise InputError(
                f"a raw photo must develop to three colours, but {path} gives "
                f"{picture.shape[-1]}; use another camera's"
            )
        return picture


def read_picture(path: str | Path) -> NDArray[np.uint16]:
    """A 16-bit TIFF or PNG: h w 3, red first. Raises InputError for anything else."""
    require_file(path)
    refuse_absurd_picture(path)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(
        cv2.utils.logging.LOG_LEVEL_SILENT
    )  # it prints a line for every tag out of order
    try:
        picture = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError):
        picture = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if picture is None:
        raise InputError(
            f"ground truth must be a readable picture, but {path} is none; is it "
            f"truncated? Copy it again"
        )
    if picture.dtype != np.uint16 or picture.ndim != 3 or picture.shape[2] != 3:
        shape = " x ".join(map(str, picture.shape))
        raise InputError(
            f"ground truth must have 16 bits and 3 channels, but {path} is "
            f"{picture.dtype}, {shape}; convert it"
        )
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint16)


def normalise(
    mosaic: NDArray[np.uint16], black: tuple[float, float, float, float], white_level: float
) -> NDArray[np.float32]:
    """An RGGB mosaic (h w, even) in sensor values, with black at 0 and white at 1; values outside
    are cut off.
    """
    cell = np.array(black, dtype=np.float32).reshape(2, 2)
    height, width = mosaic.shape
    # Two rows of black levels as long as the mosaic's: NumPy is slow where its innermost axis has
    # two values.
    rows = np.tile(cell, (1, width // 2))
    scaled = mosaic.astype(np.float32).reshape(height // 2, 2, width)
    scaled -= rows
    scaled /= np.float32(white_level) - rows
    return np.clip(scaled, 0.0, 1.0, out=scaled).reshape(height, width)


@contextlib.contextmanager
def open_raw(path: str | Path, *, unpack: bool = True) -> Iterator[Any]:
    """The rawpy file, unpacked unless only its metadata is asked for.

    Raises InputError where it is missing, no raw file, truncated or of an absurd size, and where
    LibRaw stumbles over it inside.
    """
    require_file(path)
    refuse_cut_file(path)
    try:
        with rawpy.RawPy() as raw:
            raw.open_file(os.fspath(path))
            if unpack:
                refuse_absurd_size(raw, path)
                raw.unpack()
            yield raw
    except rawpy.LibRawFileUnsupportedError as error:
        raise InputError(
            f"a raw photo must be of a kind LibRaw reads, but {path} is not; convert it to DNG"
        ) from error
    except rawpy.LibRawError as error:
        raise InputError(
            f"a raw photo must be whole, but {path} is not ({reason(error)}); copy it again"
        ) from error
    except (
        NotImplementedError,
        MemoryError,
    ) as error:  # rawpy's own words for what it doesn't know
        raise InputError(
            f"a raw photo must be of a kind rawpy reads, but {path} is not "
            f"({reason(error) or type(error).__name__}); "
            "convert it to DNG, or copy it again"
        ) from error


def reason(error: Exception) -> str:
    """LibRaw's own words."""
    words = error.args[0] if error.args else ""
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)


def require_file(path: str | Path) -> None:
    """Raises InputError where there is no such file, or its name can't be opened."""
    require_utf8(path)
    if not os.path.isfile(path):
        raise InputError(f"a photo must be a file, but there is none at {path}; check the name")


def bayer_offset(raw: Any, path: str | Path) -> tuple[int, int]:
    """Rows and columns to crop so that the mosaic starts with red. Raises NotBayerError where that
    can't be.
    """
    pattern = raw.raw_pattern
    if (
        raw.raw_type != rawpy.RawType.Flat
        or pattern is None
        or pattern.shape != (2, 2)
        or raw.num_colors != 3
    ):
        kind = (
            "no colour filter array"
            if pattern is None
            else f"a {' x '.join(map(str, pattern.shape))} pattern"
        )
        if pattern is not None and pattern.shape == (6, 6):
            kind += " (Fuji's X-Trans), which the networks' 2 x 2 cells can't hold"
        raise NotBayerError(
            f"a raw photo must have a 2 x 2 Bayer pattern, but {path} has {kind}; use "
            f"another camera's"
        )
    places = np.argwhere(pattern == RED)
    if (
        len(places) != 1
        or bytes(raw.color_desc) not in (b"RGBG", b"RGB")
        or not has_blue_opposite(pattern, places[0])
    ):
        raise NotBayerError(
            f"a raw photo must have one red, two green and one blue filter, blue across "
            f"from red, but {path} "
            f"has {bytes(raw.color_desc).decode(errors='replace')} {pattern.tolist()}; "
            f"use another camera's"
        )
    return int(places[0][0]), int(places[0][1])


def has_blue_opposite(pattern: NDArray[np.uint8], red: NDArray[np.int64]) -> bool:
    return bool(pattern[1 - red[0], 1 - red[1]] == BLUE)


def white_balance(raw: Any) -> tuple[float, float, float]:
    """The camera's gains, green 1; daylight's where the file has none, and (1, 1, 1) where LibRaw
    knows none.
    """
    for gains in (raw.camera_whitebalance, raw.daylight_whitebalance):
        red, green, blue = gains[RED], gains[GREEN], gains[BLUE]
        if min(red, green, blue) > 0:
            return red / green, 1.0, blue / green
    return 1.0, 1.0, 1.0


def camera_matrix(raw: Any) -> NDArray[np.float32]:
    """White-balanced camera RGB to linear sRGB; the identity where LibRaw knows none."""
    matrix = np.array(raw.color_matrix, dtype=np.float32)[:, :3]
    return matrix if np.abs(matrix).sum() > 0 else np.eye(3, dtype=np.float32)
