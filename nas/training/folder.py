"""The folder of a long training, which belongs to one training and to one process at a time.

Its training.json holds all that decides the weights. The same command finds it there and resumes;
another one is refused, with the settings that differ.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from space import Genome, InputError
from trials.files import write_text

SETTINGS = "training.json"
SCHEMA = 3
BEFORE_COOLDOWN = "before_cooldown.ckpt"
"""The training's state before its cool-down, from which it can be gone on with."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[dict[str, Any] | None]:
    """The settings of the training in `folder`, which is locked inside; None where it is new (it
    is made then).

    Raises InputError where the folder holds something else, or another process trains in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"--out must be a folder, but a file is in the way of {folder}; give another --out"
        ) from error
    settings = read_settings(folder)
    lock = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"only one process may train in a folder, but another one does in {folder}; wait "
                "for it, or give another --out"
            ) from error
        yield settings
    finally:
        os.close(lock)


def read_settings(folder: Path) -> dict[str, Any] | None:
    """The settings of the training in `folder`, None in an empty one; InputError as `claimed`."""
    path = folder / SETTINGS
    if not path.is_file():
        # What begins with a dot is a lock, or half written by a killed process.
        others = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        if others:
            names = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
            raise InputError(
                f"--out must be a new or empty folder, or a training's, but {folder} holds "
                f"something else ({names}); give another --out"
            )
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        schema, settings = stored["schema"], dict(stored["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must hold a training's settings, but is damaged; give another --out"
        ) from error
    if schema != SCHEMA:
        raise InputError(
            f"{path} must have schema {SCHEMA}, but has {schema}; use the version that made it, "
            "or give another --out"
        )
    return settings


def check_same(
    earlier: Mapping[str, Any],
    now: Mapping[str, Any],
    folder: Path,
    *,
    may_differ: Collection[str] = (),
) -> None:
    """Raises InputError, with all settings that differ, where the folder is another training's."""
    keys = [key for key in {**earlier, **now} if key not in may_differ]
    changed = [key for key in keys if earlier.get(key) != now.get(key)]
    if changed:
        changes = "; ".join(
            f"{key} was {earlier.get(key)!r:.60}, is {now.get(key)!r:.60}" for key in changed
        )
        raise InputError(
            f"the training in {folder} must go on with its own settings, but {changes}; give the "
            "old values again, or another --out"
        )


def write_settings(folder: Path, settings: Mapping[str, Any], genome: Genome) -> None:
    """Makes the folder this training's."""
    write_text(folder / "genome.json", genome.to_json(indent=1))
    values = {"schema": SCHEMA, "settings": dict(settings)}
    write_text(folder / SETTINGS, json.dumps(values, indent=1))
