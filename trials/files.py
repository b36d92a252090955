"""Files that are whole or not there, written beside their place and renamed; and names that every
library can open.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from space import InputError


def require_utf8(path: str | Path) -> None:
    """InputError where a path is no UTF-8: LibRaw's wrapper can't open it, and OpenCV dies of it
    (seen with 5.0).
    """
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"a file's name, with its folders, must be UTF-8, but {path} is not; rename it"
        ) from error


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; when the block ends well, that file takes the place of `path` at
    once.

    A block that raises, or a process that is killed, leaves `path` as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        beside.chmod(0o666 & ~_umask())  # some writers keep their files to themselves
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
