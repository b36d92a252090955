"""SID's layout: lists of pairs, what the file names say, and the splits.

Rows of `<Camera>_<train|val|test>_list.txt` name a short exposure, a long one, the ISO and the
aperture: `./Sony/short/00001_00_0.1s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8`. A name is
`<scene>_<index>_<seconds>s`; the exposure ratio is long / short, at most 300 (Chen et al.,
"Learning to See in the Dark", CVPR 2018). A list may come from anyone: it names photos of its own
folder only.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from space import InputError
from space.files.safe_path import inside
from trials.data.cache import DecodedCache
from trials.raw import NotBayerError
from trials.raw.amplification import LARGEST_RATIO, SID_NAME

SPLITS = ("train", "val", "test")
# An exposure of more seconds (eleven days) is a misprint.
LONGEST_EXPOSURE = 1e6
# Share of the training scenes that is held out without a validation list, as in SID itself.
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, order=True)
class PairFiles:
    """One row of a list: the two photos of a pair."""

    short: Path
    long: Path
    scene: str
    ratio: float
    """Exposure ratio, long over short, 1 to 300."""
    camera: str

    @property
    def name(self) -> str:
        return self.short.stem


Lists = dict[str, list[PairFiles]]
"""The rows of every list, by split."""


def read_lists(folder: str | Path) -> Lists:
    """The rows of every list in `folder`; a split without a list is absent.

    Raises InputError, naming file and line, for a folder or lists that are missing or empty, a
    malformed row, and a row whose photo is missing.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(
            f"the data must be a folder in SID's layout, but there is none at {folder}; check it"
        )
    lists: Lists = {}
    for split in SPLITS:
        for path in sorted(folder.glob(f"*_{split}_list.txt")):
            lists.setdefault(split, []).extend(_read_list(path))
    if not lists:
        rule = "the data must have lists named <camera>_train_list.txt and so on"
        raise InputError(f"{rule}, but {folder} has none; write them or choose their folder")
    return lists


def select_split(folder: str | Path, split: str, cache: DecodedCache) -> list[PairFiles]:
    """The rows of a split: "train", "val", "test", or "all" (every list's, once).

    Without a validation list, "val" is the held-out part of the training scenes. Raises
    InputError for an unknown split, one without rows, and as `read_lists`.
    """
    if split not in (*SPLITS, "all"):
        raise InputError(
            f"the split must be one of {', '.join(SPLITS)} or all, but is {split!r}; choose one"
        )
    lists, _ = bayer_only(read_lists(folder), cache)
    if split == "all":
        rows = list(dict.fromkeys(row for name in SPLITS for row in lists.get(name, [])))
    elif split == "test":
        rows = lists.get("test", [])
    else:
        rows = train_and_val(lists, folder)[0 if split == "train" else 1]
    if not rows:
        raise InputError(
            f"the data must have a {split} list, but {folder} has {', '.join(lists)}; choose one"
        )
    return rows


def train_and_val(lists: Lists, folder: str | Path) -> tuple[list[PairFiles], list[PairFiles]]:
    """The rows to train on and those to validate on; InputError without a training list."""
    if "train" not in lists:
        raise InputError(
            f"the data must have a train list, but {folder} has only {', '.join(lists)}; add one"
        )
    return (lists["train"], lists["val"]) if "val" in lists else hold_out(lists["train"])


def bayer_only(lists: Lists, cache: DecodedCache) -> tuple[Lists, list[str]]:
    """The lists without the cameras that have no Bayer pattern, and those cameras' names.

    SID comes with the lists of two cameras, one of which (Fuji) is no Bayer camera. They are left
    out only where there is another camera: else the error should say what is wrong.
    """
    first = {row.camera: row for rows in lists.values() for row in reversed(rows)}
    if len(first) < 2:
        return lists, []
    left_out = []
    for camera, row in sorted(first.items()):
        try:
            cache.frame(row.short)
        except NotBayerError:
            left_out.append(camera)
    if len(left_out) == len(first):
        return lists, []
    bayer = {
        split: [row for row in rows if row.camera not in left_out] for split, rows in lists.items()
    }
    return {split: rows for split, rows in bayer.items() if rows}, left_out


def hold_out(rows: list[PairFiles]) -> tuple[list[PairFiles], list[PairFiles]]:
    """Training and validation rows: a fixed part of the scenes, whatever the order of the rows.

    Scenes are ranked by a hash of their names, so adding scenes moves few others. A single scene
    is split by its pairs. Raises InputError where there is only one pair.
    """
    by_scene = len({row.scene for row in rows}) > 1
    groups = {row: row.scene if by_scene else row.name for row in rows}
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in groups.values()}
    ranked = sorted(digests, key=digests.__getitem__)
    if len(ranked) < 2:
        raise InputError(
            f"one pair must be held out, but there is only one ({rows[0].name}); add a val list"
        )
    val_groups = set(ranked[: max(1, round(HELD_OUT_SHARE * len(ranked)))])
    train = [row for row in rows if groups[row] not in val_groups]
    return train, [row for row in rows if groups[row] in val_groups]


def parse_name(photo: Path, where: str) -> tuple[str, float]:
    """Scene and exposure time in seconds of a photo named in SID's way; InputError otherwise."""
    match = SID_NAME.fullmatch(photo.stem)
    if match is None or not 0 < float(match["seconds"]) <= LONGEST_EXPOSURE:
        rule = "a photo must be named <scene>_<index>_<seconds>s"
        raise InputError(f"{rule}, but {where} names {photo.name}; rename it")
    return match["scene"], float(match["seconds"])


def _read_list(path: Path) -> list[PairFiles]:
    inside(path.parent, path.name, "a list")
    if not os.path.isfile(path):
        raise InputError(f"a list must be a file, but {path} is none; write it anew or delete it")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"a list must be readable text, but {path} is not ({error}); mend it"
        ) from error
    camera = path.name.rsplit("_", 2)[0]
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    rows = [_read_row(line, path, number, camera) for number, line in numbered]
    if not rows:
        raise InputError(
            f"a list must have at least one row, but {path} has none; add pairs or delete it"
        )
    return rows


def _read_row(line: str, path: Path, number: int, camera: str) -> PairFiles:
    where = f"{path}, line {number}"
    words = line.split()
    if len(words) < 2:
        raise InputError(
            f"a row must name a short and a long exposure, but {where} is {line.strip()!r}; fix it"
        )
    short, long = (inside(path.parent, word, f"the photos of {where}") for word in words[:2])
    (scene, short_s), (_, long_s) = parse_name(short, where), parse_name(long, where)
    for photo in (short, long):
        if not os.path.isfile(photo):
            raise InputError(
                f"a row's photos must exist, but {where} names {photo}, which is missing; add it"
            )
    ratio = min(long_s / short_s, LARGEST_RATIO)
    if ratio < 1:
        raise InputError(
            f"a row's second photo must be the long exposure, but {where} has it first; swap them"
        )
    return PairFiles(short=short, long=long, scene=scene, ratio=ratio, camera=camera)
