"""The pictures that networks are judged on: decoded once, given as a pair to every network in the
form that it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trials.data.cache import DecodedCache
from trials.data.dataset import Shot, decode, make_pair
from trials.data.pair import Pair, Progress
from trials.data.sid import Row


@dataclass(frozen=True)
class Picture:
    """A decoded pair of a list; `pair` reads it from the cache when it is asked for."""

    shot: Shot
    device: str

    @property
    def name(self) -> str:
        return self.shot.row.name

    @property
    def scene(self) -> str:
        return self.shot.row.scene

    @property
    def ratio(self) -> float:
        """Exposure ratio, long over short, at most 300; to a thousandth, so that equal ones are
        equal.
        """
        return round(self.shot.row.ratio, 3)

    def pair(self, white_balanced_input: bool) -> Pair:
        """The amplified mosaic, white-balanced or not, and the ground truth, on the picture's
        device.
        """
        return make_pair(self.shot, white_balanced_input, self.device)


def load_pictures(
    rows: Sequence[Row],
    cache: DecodedCache,
    *,
    device: str = "cpu",
    on_progress: Progress | None = None,
) -> list[Picture]:
    """The pictures of `rows`, decoded into the cache (progress is told as "decode"). Raises as
    `load_pairs`.
    """
    return [Picture(shot, device) for shot in decode(rows, cache, on_progress)]
