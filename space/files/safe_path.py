"""A name that was read from a file means a place inside that file's folder, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from space.errors import InputError, brief


def inside(folder: Path, name: object, what: str) -> Path:
    """`folder / name`, which need not exist; `what` names it in messages ("a row's photo").

    Raises InputError where `name` is no file's name, or leads out of `folder`: by "..", as an
    absolute path, or over a symbolic link. `folder` itself may lie behind links.
    """
    if not isinstance(name, (str, os.PathLike)) or "\0" in os.fspath(name):
        raise InputError(f"{what} must be named by a path, but got {brief(name)}; mend the name")
    place = folder / name
    try:
        root, real = os.path.realpath(folder), os.path.realpath(place)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{what} must be reachable, but {place} is not ({error}); mend the name"
        ) from error
    if os.path.commonpath([root, real]) != root:
        raise InputError(
            f"{what} must lie in the folder {folder}, but {brief(str(name))} leads to {real}; "
            "copy the file into the folder, or correct the name"
        )
    return place
