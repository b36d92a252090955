"""The pictures that networks are judged on: decoded once, given as a pair to every network in the form that it wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from space import InputError
from trials.dataset import Shot, bayer_only, decode, make_pair, part_rows
from trials.decoded import DecodedCache
from trials.pairs import Pair, Progress
from trials.sid import SPLITS, Row, read_lists


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
        """Exposure ratio, long over short, at most 300; to a thousandth, so that equal ones are equal."""
        return round(self.shot.row.ratio, 3)

    def pair(self, white_balanced_input: bool) -> Pair:
        """The amplified mosaic, white-balanced or not, and the ground truth, on the picture's device."""
        return make_pair(self.shot, white_balanced_input, self.device)


def split_rows(folder: str | Path, split: str, cache: DecodedCache) -> list[Row]:
    """The rows of a split ("train", "val", "test", or "all": every list's, once), as `load_pairs` takes them.

    Raises InputError as `load_pairs`.
    """
    if split not in (*SPLITS, "all"):
        raise InputError(f"the split must be one of {', '.join(SPLITS)} or all, but is {split!r}; choose one of them")
    lists, _ = bayer_only(read_lists(folder), cache)
    if split == "all":
        rows = list(dict.fromkeys(row for part in SPLITS for row in lists.get(part, [])))
    elif split == "test":
        rows = lists.get("test", [])
    else:
        rows = part_rows(lists, folder)[0 if split == "train" else 1]
    if not rows:
        raise InputError(f"the data must have a {split} list, but {folder} has {', '.join(lists)}; choose one of those")
    return rows


def load_pictures(
    rows: Sequence[Row], cache: DecodedCache, *, device: str = "cpu", on_progress: Progress | None = None
) -> list[Picture]:
    """The pictures of `rows`, decoded into the cache (progress is told as "decode"). Raises as `load_pairs`."""
    return [Picture(shot, device) for shot in decode(rows, cache, on_progress)]
