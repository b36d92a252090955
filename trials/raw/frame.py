"""A raw photo in memory: the sensor's mosaic and its file's metadata."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from space import NetworkInput

ALL = slice(None)


@dataclass(frozen=True)
class RawFrame:
    """A decoded raw photo, in sensor values."""

    mosaic: NDArray[np.uint16]
    """h w, RGGB, even size."""
    black: tuple[float, float, float, float]
    """Black level of each place of the RGGB cell, in sensor values."""
    white_level: float
    white_balance: tuple[float, float, float]
    """The camera's gains for red, green (1) and blue, for the light it saw."""
    offset: tuple[int, int]
    """Rows and columns of the sensor before the first red."""
    camera_to_srgb: NDArray[np.float32]
    """3 x 3, white-balanced camera RGB to linear sRGB."""
    black_error: float = 0.0
    """How far the true black lies above `black`, in sensor values, as far as it is known."""

    def for_input(self, network_input: NetworkInput) -> RawFrame:
        """The frame with the black level that a network wants."""
        if not network_input.black_corrected or not self.black_error:
            return self
        first, second, third, fourth = (level + self.black_error for level in self.black)
        return replace(self, black=(first, second, third, fourth), black_error=0.0)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the mosaic."""
        height, width = self.mosaic.shape
        return height, width

    def normalised(self, rows: slice = ALL, columns: slice = ALL) -> NDArray[np.float32]:
        """A part of the mosaic in whole 2 x 2 cells: black 0, white 1, values outside clipped."""
        part = self.mosaic[rows, columns]
        height, width = part.shape
        # Black levels in rows as long as the mosaic's: NumPy is slow along an axis of two values.
        black = np.tile(np.array(self.black, dtype=np.float32).reshape(2, 2), (1, width // 2))
        scaled = part.astype(np.float32).reshape(height // 2, 2, width)
        scaled -= black
        scaled /= np.float32(self.white_level) - black
        return np.clip(scaled, 0.0, 1.0, out=scaled).reshape(height, width)


@dataclass(frozen=True)
class Exposure:
    """What decides how bright a raw is; 0 where the metadata lack it."""

    seconds: float = 0.0
    iso: float = 0.0
    aperture: float = 0.0


@dataclass(frozen=True)
class FullFrame:
    """Every pixel that the camera shows, and which way up it held the photo."""

    frame: RawFrame
    """Nothing is cropped: to start with red, a row or a column is mirrored in on each side."""
    visible: tuple[slice, slice]
    """The rows and columns of the mosaic that are the camera's own."""
    flip: int
    """LibRaw's bits: 1 and 2 mirror columns and rows, then 4 swaps the axes."""
