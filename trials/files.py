"""Files that are complete or absent, and names that every library can open."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from space import InputError


def require_utf8(path: str | Path) -> None:
    """InputError for a path that is not UTF-8: LibRaw's wrapper fails, and OpenCV 5.0 crashes."""
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"a file's name, with its folders, must be UTF-8, but {path} is not; rename it"
        ) from error


@contextlib.contextmanager
def replacing(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Yields a path to write to, which replaces `path` at the end.

    If the block raises or the process is killed, `path` stays as it was. A `private` file can be
    read by its owner alone, from its first byte on.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if private:
            temporary.unlink(missing_ok=True)
            temporary.touch(mode=0o600, exist_ok=False)
        yield temporary
        # Some writers make private files, and some make a new one.
        temporary.chmod(0o600 if private else 0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` and a newline in UTF-8, by `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
