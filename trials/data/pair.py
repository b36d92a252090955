"""The interface of all data: pairs to score, and a source of crops to train on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

Progress = Callable[[str, int, int, dict[str, float]], None]
"""Called as progress(phase, done, total, figures), e.g. ("train", 120, 500, {"loss": 0.03})."""


@dataclass(frozen=True)
class Pair:
    """An extremely dark photo and its ground truth."""

    name: str
    mosaic: Tensor
    """1 1 h w float32: the amplified RGGB mosaic in [0, 1]."""
    target: Tensor
    """1 3 h w float32: sRGB in [0, 1]."""
    is_private: bool = False
    """A part of somebody's photo, which no picture file may show."""


def to_show(pairs: Sequence[Pair]) -> list[Pair]:
    """The first pair and one from the middle, to be shown in files: none of them private.

    `pairs` may be loaded when accessed, so that only those around are looked at; the private ones
    come last.
    """
    indices = set()
    for index in (0, len(pairs) // 2):
        while index > 0 and pairs[index].is_private:
            index -= 1
        indices.add(index)
    chosen = [pairs[index] for index in sorted(indices)]
    return [pair for pair in chosen if not pair.is_private]


class TrialData(Protocol):
    """Where the crops for training and the held-out pairs come from."""

    @property
    def device(self) -> torch.device: ...

    @property
    def held_out(self) -> Sequence[Pair]: ...

    @property
    def description(self) -> dict[str, Any]:
        """What the data is, ready for JSON; two sources that differ have different digests."""
        ...

    def sample(self, batch: int, crop: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """`batch` crops: mosaics (b 1 h w, amplified, [0, 1]) and targets (b 3 h w, sRGB)."""
        ...
