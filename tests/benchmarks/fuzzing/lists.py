"""Folders in SID's layout: an accepted list names only photos of its own folder, with the ratio
that their names tell.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from fuzzing.checks import require
from fuzzing.mutate import HUGE, damaged
from trials.data.sid import parse_name, read_lists, train_and_val

SHORT, LONG = "./Sony/short/{}_00_0.1s.ARW", "./Sony/long/{}_00_10s.ARW"
SCENES = ("00001", "00002", "00003")
# Names of photos that are none, or not there, or not here.
NAMES = [
    "../outside/00001_00_0.1s.ARW",
    "Sony/../../outside/00001_00_0.1s.ARW",
    "/etc/passwd",
    "/dev/zero",
    "",
    ".",
    "..",
    "\0",
    "Sony/short/00001_00_0.1s.ARW\0",
    "Sony/short/" + "A" * 300 + "_00_0.1s.ARW",
    "Sony/short/00001_00_" + "9" * 240 + "s.ARW",
    "Sony/short/00001_00_" + "9" * 400 + "s.ARW",
    "Sony/short/00001_00_0." + "0" * 200 + "1s.ARW",
    "Sony/short/00001_00_nans.ARW",
    "Sony/short/00001_00_-1s.ARW",
    "Sony/short/00001_00_1e9s.ARW",
    "Sony/short/٠٠٠٠١_00_٣s.ARW",
    "x/" * 3000 + "00001_00_0.1s.ARW",
    "~/00001_00_0.1s.ARW",
    "file:///etc/passwd",
    "Sony//short/./00001_00_0.1s.ARW",
    "Sony/short",
    "Sony/short/00002_00_0.1s.ARW/x",
    "sony/short/00001_00_0.1s.arw",
    "\u202e00001_00_0.1s.ARW",
    "Sony/short/00001_00_0s.ARW",
    "é_漢_1s.ARW",
]
LINES = [
    "",
    "#",
    "\x0b",
    "\u2028",
    "\x1c",
    "one",
    "a b c d e f g h",
    " \t ",
    "\ufeff",
    "./a ./b",
    "x" * 10_000,
]


class Lists:
    name = "list"

    def __init__(self, place: Path) -> None:
        pass

    def prepare(self, chance: random.Random, folder: Path) -> Callable[[], None]:
        root = folder / "data"
        _photos(root)
        rows = [f"{SHORT.format(scene)} {LONG.format(scene)} ISO200 F8" for scene in SCENES]
        _change_photos(root, folder.parent / "outside", chance)
        data = "\n".join(_changed(rows, chance)).encode("utf-8", "surrogatepass")
        if chance.random() < 0.15:
            data = damaged(data, chance)
        path = root / chance.choice(
            ["Sony_train_list.txt"] * 6
            + ["_train_list.txt", "é x_train_list.txt", "Sony_val_list.txt"]
        )
        _write_list(path, data, folder.parent / "outside", chance)
        return lambda: _try(root)


def _try(root: Path) -> None:
    lists = read_lists(root)
    for found in lists.values():
        for row in found:
            for photo in (row.short, row.long):
                real = os.path.realpath(photo)
                require(os.path.isfile(photo), f"{photo} is no file")
                require(
                    os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root),
                    f"{photo} is outside",
                )
            short, long = parse_name(row.short, "here"), parse_name(row.long, "here")
            require(
                row.ratio == min(long[1] / short[1], 300.0) and 1 <= row.ratio <= 300,
                f"the ratio is {row.ratio}",
            )
            require(row.scene == short[0] and row.name == row.short.stem, "the scene is another")
    train, held = train_and_val(lists, root)
    require(bool(train) and bool(held), "nothing to train on, or to score with")


def _photos(root: Path) -> None:
    for scene in SCENES:
        for name in (SHORT, LONG):
            path = root / name.format(scene)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")


def _change_photos(root: Path, outside: Path, chance: random.Random) -> None:
    """A photo, or their folder, is a link, a folder, a pipe, or gone."""
    path = root / SHORT.format("00001")
    if chance.random() > 0.2:
        return
    path.unlink()
    (outside / path.name).write_bytes(b"secret")
    how = chance.choice(("out", "up", "in", "loop", "pipe", "folder", "gone", "folder out"))
    if how == "out":
        os.symlink(outside / path.name, path)
    elif how == "up":
        os.symlink(f"../../../../outside/{path.name}", path)
    elif how == "in":
        os.symlink("00002_00_0.1s.ARW", path)
    elif how == "loop":
        os.symlink(path.name, path)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "folder out":
        for other in path.parent.iterdir():
            other.unlink()
        path.parent.rmdir()
        os.symlink(outside, path.parent)


def _changed(rows: list[str], chance: random.Random) -> list[str]:
    rows = list(rows)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        at = chance.randrange(len(rows))
        words = rows[at].split(" ")
        how = chance.choices(
            ("name", "line", "swap", "drop", "twice", "word", "huge", "order"),
            (6, 3, 2, 2, 2, 2, 0.1, 2),
        )[0]
        if how == "name":
            words[chance.randrange(len(words))] = chance.choice(NAMES)
            rows[at] = " ".join(words)
        elif how == "line":
            rows.insert(at, chance.choice(LINES))
        elif how == "swap" and len(words) > 1:
            words[0], words[1] = words[1], words[0]
            rows[at] = " ".join(words)
        elif how == "drop" and len(rows) > 1:
            del rows[at]
        elif how == "twice":
            rows.append(rows[at])
        elif how == "word":
            rows[at] = " ".join(words[: chance.randrange(len(words) + 1)])
        elif how == "huge":
            rows[at] = "A" * HUGE + " " + rows[at]
        elif how == "order":
            chance.shuffle(rows)
    return rows


def _write_list(path: Path, data: bytes, outside: Path, chance: random.Random) -> None:
    how = chance.choices(("file", "out", "pipe", "folder", "zero"), (30, 1, 1, 1, 1))[0]
    if how == "file":
        path.write_bytes(data)
    elif how == "out":
        (outside / path.name).write_bytes(data)
        os.symlink(outside / path.name, path)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "zero":
        os.symlink("/dev/zero", path)
    else:
        path.mkdir()
