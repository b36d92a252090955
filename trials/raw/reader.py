"""Any Bayer camera's raw file as one kind of mosaic, RGGB, through LibRaw (rawpy).

The colour filter array (CFA) starts with red, green or blue, depending on the camera. It is
aligned to RGGB by cropping a row, a column or both, never by mirroring, so that picture and ground
truth stay in register.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rawpy
from numpy.typing import NDArray

from space import InputError
from trials.raw.black_level import black_of
from trials.raw.frame import Exposure, FullFrame, RawFrame
from trials.raw.images import quiet_opencv
from trials.raw.validation import check_dimensions, check_file, check_frame, check_picture_file

RED, GREEN, BLUE = range(3)  # LibRaw's colour numbers; a Bayer cell's second green is 3
PICTURE_SUFFIXES = (".tif", ".tiff", ".png")
SMALLEST_SIDE = 4


class NotBayerError(InputError):
    """A raw file whose sensor has no 2 x 2 Bayer pattern."""


def read_frame(path: str | Path) -> RawFrame:
    """The raw photo at `path`, cropped to start with red.

    Raises InputError for a file that is missing, no raw, truncated or implausible, and
    NotBayerError for a sensor without a 2 x 2 Bayer pattern (X-Trans, Foveon, demosaiced DNG).
    """
    with open_raw(path) as raw:
        top, left = bayer_offset(raw, path)
        values = visible_values(raw, path)
        height, width = (values.shape[0] - top) // 2 * 2, (values.shape[1] - left) // 2 * 2
        mosaic = np.array(values[top : top + height, left : left + width], dtype=np.uint16)
        return _frame(raw, mosaic, (top, left), path)


def read_full_frame(path: str | Path) -> FullFrame:
    """The raw photo at `path` with every row and column that the camera shows.

    Where the sensor's first row or column doesn't hold red, one is mirrored in before it; so are
    the last ones where their number is odd. Raises as `read_frame`.
    """
    with open_raw(path) as raw:
        top, left = bayer_offset(raw, path)  # as many to add as to crop: one or none
        values = visible_values(raw, path)
        height, width = values.shape
        padding = (top, (top + height) % 2), (left, (left + width) % 2)
        # Mirroring about the first or last row keeps the colours: they alternate.
        mosaic = np.pad(values, padding, mode="reflect").astype(np.uint16, copy=False)
        visible = slice(top, top + height), slice(left, left + width)
        frame = _frame(raw, mosaic, (top, left), path)
        return FullFrame(frame, visible, int(raw.sizes.flip))


def read_exposure(path: str | Path) -> Exposure:
    """The exposure that the metadata of a raw photo tell. Raises InputError as `read_frame`."""
    with open_raw(path, unpack=False) as raw:
        other = getattr(raw, "other", None)  # older rawpy doesn't have it
        names = ("shutter_speed", "iso_speed", "aperture")
        return Exposure(*(max(float(getattr(other, name, 0.0)), 0.0) for name in names))


def read_target(
    path: str | Path, offset: tuple[int, int], size: tuple[int, int]
) -> NDArray[np.uint16]:
    """Ground truth, h w 3, sRGB, 0 to 65535, in register with a mosaic of `size` at `offset`.

    A raw file is developed by `develop_raw`, a TIFF or PNG of 16 bits is taken as it is. Raises
    InputError for a file that can't be read, or has not 16 bits, three channels or this size.
    """
    is_picture = Path(path).suffix.lower() in PICTURE_SUFFIXES
    picture = read_picture(path) if is_picture else develop_raw(path)
    top, left = offset
    height, width = (picture.shape[0] - top) // 2 * 2, (picture.shape[1] - left) // 2 * 2
    if (height, width) != size:
        rule = "ground truth must be as large as its raw photo"
        sizes = f"{path} gives {height} x {width} and the raw {size[0]} x {size[1]}"
        raise InputError(f"{rule}, but {sizes}; take both from one camera")
    return np.ascontiguousarray(picture[top : top + height, left : left + width])


def develop_raw(path: str | Path) -> NDArray[np.uint16]:
    """The raw file at `path` developed by SID's recipe: h w 3, sRGB, 0 to 65535.

    LibRaw with the camera's white balance and no automatic brightening (Chen et al., "Learning to
    See in the Dark", CVPR 2018).
    """
    with open_raw(path) as raw:
        picture: NDArray[np.uint16] = raw.postprocess(
            use_camera_wb=True, half_size=False, no_auto_bright=True, output_bps=16, user_flip=0
        )
        if picture.ndim != 3 or picture.shape[2] != 3:
            rule, count = "a raw photo must develop to three colours", picture.shape[-1]
            raise InputError(f"{rule}, but {path} gives {count}; use another camera's")
        return picture


def read_picture(path: str | Path) -> NDArray[np.uint16]:
    """A 16-bit TIFF or PNG: h w 3, red first. Raises InputError for anything else."""
    check_picture_file(path)
    picture = None
    with quiet_opencv(), contextlib.suppress(cv2.error, MemoryError):
        picture = cv2.imread(os.fspath(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise InputError(f"ground truth must be a readable picture, but {path} isn't; replace it")
    if picture.dtype != np.uint16 or picture.ndim != 3 or picture.shape[2] != 3:
        kind = f"{picture.dtype}, {' x '.join(map(str, picture.shape))}"
        rule = "ground truth must have 16 bits and 3 channels"
        raise InputError(f"{rule}, but {path} is {kind}; convert it")
    return np.ascontiguousarray(picture[..., ::-1], dtype=np.uint16)


@contextlib.contextmanager
def open_raw(path: str | Path, *, unpack: bool = True) -> Iterator[Any]:
    """The rawpy file, unpacked unless only its metadata are needed.

    Raises InputError where a check fails, or LibRaw does, here or inside the block.
    """
    check_file(path)
    try:
        with rawpy.RawPy() as raw:
            raw.open_file(os.fspath(path))
            if unpack:
                check_dimensions(raw, path)
                raw.unpack()
            yield raw
    except rawpy.LibRawFileUnsupportedError as error:
        raise InputError(
            f"a raw photo must be of a kind LibRaw reads, but {path} is not; convert it to DNG"
        ) from error
    except rawpy.LibRawError as error:
        raise InputError(
            f"a raw photo must be whole, but {path} is not ({_message(error)}); copy it again"
        ) from error
    except (NotImplementedError, MemoryError) as error:  # rawpy's own, for what it doesn't know
        raise InputError(
            f"a raw photo must be of a kind rawpy reads, but {path} is not "
            f"({_message(error) or type(error).__name__}); convert it to DNG"
        ) from error


def bayer_offset(raw: Any, path: str | Path) -> tuple[int, int]:
    """Rows and columns to crop so that the mosaic starts with red; NotBayerError without one."""
    pattern = raw.raw_pattern
    shape = None if pattern is None else pattern.shape
    if raw.raw_type != rawpy.RawType.Flat or shape != (2, 2) or raw.num_colors != 3:
        size = " x ".join(map(str, shape or ()))
        kind = f"a {size} pattern" if size else "no colour filter array"
        fuji = " (Fuji's X-Trans)" if shape == (6, 6) else ""
        raise NotBayerError(
            f"a raw must have a 2 x 2 Bayer pattern, but {path} has {kind}{fuji}; use another's"
        )
    places, colours = np.argwhere(pattern == RED), bytes(raw.color_desc)
    top, left = (int(index) for index in places[0]) if len(places) == 1 else (-1, -1)
    if top < 0 or colours not in (b"RGBG", b"RGB") or pattern[1 - top, 1 - left] != BLUE:
        rule = "a raw must have one red, two green and one blue filter, blue across from red"
        has = f"{colours.decode(errors='replace')} {pattern.tolist()}"
        raise NotBayerError(f"{rule}, but {path} has {has}; use another's")
    return top, left


def visible_values(raw: Any, path: str | Path) -> NDArray[np.uint16]:
    """The part of an unpacked sensor that the camera shows, a view."""
    values: NDArray[np.uint16] = raw.raw_image_visible
    if values.ndim != 2 or min(values.shape) < SMALLEST_SIDE:
        size = " x ".join(map(str, values.shape))
        rule = f"a raw photo must have at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
        raise InputError(f"{rule}, but {path} has {size}; copy it again")
    return values


def _frame(
    raw: Any, mosaic: NDArray[np.uint16], offset: tuple[int, int], path: str | Path
) -> RawFrame:
    """`mosaic` with the metadata of the opened file; `offset` is the sensor's first red."""
    black, black_error = black_of(raw, offset, path)
    frame = RawFrame(
        mosaic=mosaic,
        black=black,
        white_level=float(raw.white_level),
        white_balance=_white_balance(raw),
        offset=offset,
        camera_to_srgb=_camera_matrix(raw),
        black_error=black_error,
    )
    check_frame(frame, path)
    return frame


def _white_balance(raw: Any) -> tuple[float, float, float]:
    """The camera's gains, green 1; else daylight's; else (1, 1, 1)."""
    for gains in (raw.camera_whitebalance, raw.daylight_whitebalance):
        red, green, blue = gains[RED], gains[GREEN], gains[BLUE]
        if min(red, green, blue) > 0:
            return red / green, 1.0, blue / green
    return 1.0, 1.0, 1.0


def _camera_matrix(raw: Any) -> NDArray[np.float32]:
    """White-balanced camera RGB to linear sRGB; the identity where LibRaw knows none."""
    matrix = np.array(raw.color_matrix, dtype=np.float32)[:, :3]
    return matrix if np.abs(matrix).sum() > 0 else np.eye(3, dtype=np.float32)


def _message(error: Exception) -> str:
    """LibRaw's message, which may be bytes."""
    words = error.args[0] if error.args else ""
    return words.decode(errors="replace") if isinstance(words, bytes) else str(words)
