"""Which rows of SID's lists a split means: to train on, to judge by, of cameras with a Bayer
pattern.
"""

from __future__ import annotations

from pathlib import Path

from space import InputError
from trials.data.cache import DecodedCache
from trials.data.sid import SPLITS, Row, hold_out, read_lists
from trials.raw.reader import NotBayerError


def split_rows(folder: str | Path, split: str, cache: DecodedCache) -> list[Row]:
    """The rows of a split ("train", "val", "test", or "all": every list's, once), as `load_pairs`
    takes them.

    Raises InputError as `load_pairs`.
    """
    if split not in (*SPLITS, "all"):
        raise InputError(
            f"the split must be one of {', '.join(SPLITS)} or all, but is {split!r}; "
            f"choose one of them"
        )
    lists, _ = bayer_only(read_lists(folder), cache)
    if split == "all":
        rows = list(dict.fromkeys(row for part in SPLITS for row in lists.get(part, [])))
    elif split == "test":
        rows = lists.get("test", [])
    else:
        rows = part_rows(lists, folder)[0 if split == "train" else 1]
    if not rows:
        raise InputError(
            f"the data must have a {split} list, but {folder} has {', '.join(lists)}; "
            f"choose one of those"
        )
    return rows


def part_rows(lists: dict[str, list[Row]], folder: str | Path) -> tuple[list[Row], list[Row]]:
    """(to train on, to judge by). Raises InputError where there is no training list."""
    if "train" not in lists:
        raise InputError(
            f"the data must have a train list, but {folder} has only {', '.join(lists)}; add one"
        )
    if "val" in lists:
        return lists["train"], lists["val"]
    return hold_out(lists["train"])


def bayer_only(
    lists: dict[str, list[Row]], cache: DecodedCache
) -> tuple[dict[str, list[Row]], list[str]]:
    """The lists without the cameras that have no Bayer pattern, and those cameras' names.

    SID comes with the lists of two cameras, one of which (Fuji) is no Bayer camera. Left out only
    where there is another camera: else the error should say what is wrong.
    """
    first = {row.camera: row for rows in lists.values() for row in reversed(rows)}
    if len(first) < 2:
        return lists, []
    left_out = []
    for camera, row in sorted(first.items()):
        try:
            cache.short(row.short)
        except NotBayerError:
            left_out.append(camera)
    if len(left_out) == len(first):
        return lists, []
    kept = {
        split: [row for row in rows if row.camera not in left_out] for split, rows in lists.items()
    }
    return {split: rows for split, rows in kept.items() if rows}, left_out
