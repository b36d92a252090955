"""SID's layout: lists of pairs, and what the file names say.

Rows of `<Camera>_<train|val|test>_list.txt` name a short exposure, a long one, the ISO and the
aperture: `./Sony/short/00001_00_0.1s.ARW ./Sony/long/00001_00_10s.ARW ISO200 F8`. A name is
`<scene>_<index>_<seconds>s`; the exposure ratio is long / short, at most 300 (Chen et al.,
"Learning to See in the Dark", CVPR 2018). A list may come from anyone: it names photos of its own
folder only.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from space import InputError
from space.safe_path import inside

SPLITS = ("train", "val", "test")
LARGEST_RATIO = 300.0
# An exposure of more seconds (eleven days) is a misprint.
LONGEST_EXPOSURE = 1e6
NAME = re.compile(r"(?P<scene>[^_]+)_(?P<index>.+)_(?P<seconds>\d+(?:\.\d+)?)s")
# Share of the training scenes that is held out where there is no validation list, as in SID itself
# (about a tenth).
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, order=True)
class Row:
    """One pair of a list."""

    short: Path
    long: Path
    scene: str
    ratio: float
    camera: str

    @property
    def name(self) -> str:
        return self.short.stem


def read_lists(folder: str | Path) -> dict[str, list[Row]]:
    """The rows of every list in `folder`, by split; a split without a list is absent.

    Raises InputError, naming file and line, for a folder or lists that are missing or empty, a
    malformed row, and a row whose photo is missing.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(
            f"the data must be a folder in SID's layout, but there is none at {folder}; "
            f"check the path"
        )
    splits: dict[str, list[Row]] = {}
    for split in SPLITS:
        for path in sorted(folder.glob(f"*_{split}_list.txt")):
            splits.setdefault(split, []).extend(read_list(path))
    if not splits:
        raise InputError(
            f"the data must have lists named <camera>_train_list.txt and so on, but "
            f"{folder} has none; "
            "write them or choose the folder that holds them"
        )
    return splits


def read_list(path: Path) -> list[Row]:
    """The rows of one list. Raises as `read_lists`."""
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
    rows = [
        read_row(line, path, number, camera)
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not rows:
        raise InputError(
            f"a list must have at least one row, but {path} has none; add pairs or delete it"
        )
    return rows


def read_row(line: str, path: Path, number: int, camera: str) -> Row:
    """One row of the list `path`. Raises as `read_lists`."""
    where = f"{path}, line {number}"
    words = line.split()
    if len(words) < 2:
        raise InputError(
            f"a row must name a short and a long exposure, but {where} is "
            f"{line.strip()!r}; mend the row"
        )
    short, long = (inside(path.parent, word, f"the photos of {where}") for word in words[:2])
    short_name, long_name = parse_name(short, where), parse_name(long, where)
    for photo in (short, long):
        if not os.path.isfile(photo):
            raise InputError(
                f"a row's photos must be there, but {where} names {photo}, which is "
                f"missing; add it"
            )
    ratio = min(long_name[1] / short_name[1], LARGEST_RATIO)
    if ratio < 1:
        raise InputError(
            f"the second photo of a row must be the longer exposure, but {where} has it "
            f"first; swap them"
        )
    return Row(short=short, long=long, scene=short_name[0], ratio=ratio, camera=camera)


def parse_name(photo: Path, where: str) -> tuple[str, float]:
    """Scene and exposure time in seconds of a photo named in SID's way. Raises InputError for
    another name.
    """
    match = NAME.fullmatch(photo.stem)
    if match is None or not 0 < float(match["seconds"]) <= LONGEST_EXPOSURE:
        raise InputError(
            f"a photo must be named <scene>_<index>_<seconds>s, but {where} names "
            f"{photo.name}; rename the photo"
        )
    return match["scene"], float(match["seconds"])


def hold_out(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(to train on, to judge on): a fixed part of the scenes is held out, whatever the order of
    the rows.

    Each scene's place is a hash of its name, so adding scenes moves few others. A single scene is
    parted by its pairs. Raises InputError where there is only one pair.
    """
    groups = sorted({row.scene for row in rows})
    by_scene = len(groups) > 1
    if not by_scene:
        groups = sorted({row.name for row in rows})
    if len(groups) < 2:
        raise InputError(
            f"one pair must be kept to judge by, but there is only one ({rows[0].name}); "
            f"add a pair or a val list"
        )
    groups.sort(key=lambda group: hashlib.sha256(group.encode()).hexdigest())
    held = set(groups[: max(1, round(HELD_OUT_SHARE * len(groups)))])
    kept: list[Row] = []
    judged: list[Row] = []
    for row in rows:
        (judged if (row.scene if by_scene else row.name) in held else kept).append(row)
    return kept, judged
