"""Real files decoded once, into arrays on disk that are mapped into memory: a crop reads only its
rows.

Every decoded file is an array (`<key>.npy`) and a note (`<key>.json`). The key is the file's path,
size and time of change, rawpy's and LibRaw's versions (another build gives another ground truth)
and the recipe. Both are written beside and renamed, the note last; a file that is torn all the
same is decoded again.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from space import InputError
from trials.raw.reader import RawFrame, normalise, read_frame, read_target

# Raised whenever a change of code changes what is decoded.
RECIPE = 1


@dataclass(frozen=True)
class ShortNote:
    """What a raw photo says beside its values."""

    black: tuple[float, float, float, float]
    white_level: float
    white_balance: tuple[float, float, float]
    offset: tuple[int, int]


@dataclass(frozen=True)
class DecodedShort:
    """A short exposure: sensor values, h w, RGGB, mapped into memory."""

    values: NDArray[np.uint16]
    note: ShortNote

    def rows(self, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
        """A part that starts at an even row and column, black 0, white 1."""
        part = np.asarray(self.values[top : top + height, left : left + width])
        return normalise(part, self.note.black, self.note.white_level)


class DecodedCache:
    """The decoded files of a folder on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def short(self, path: Path) -> DecodedShort:
        """The short exposure `path`. Raises InputError as `raw.read_frame` does, and where the
        disk is full.
        """

        def decode() -> tuple[NDArray[np.uint16], dict[str, Any]]:
            frame: RawFrame = read_frame(path)
            note = ShortNote(frame.black, frame.white_level, frame.white_balance, frame.offset)
            return frame.mosaic, asdict(note)

        values, fields = self._load(identity(path, "short"), 2, decode)
        tuples: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return DecodedShort(values, ShortNote(**tuples))

    def target(self, path: Path, like: DecodedShort) -> NDArray[np.uint16]:
        """The ground truth `path` (h w 3) in register with `like`. Raises InputError as
        `raw.read_target` does.
        """
        offset, size = like.note.offset, (like.values.shape[0], like.values.shape[1])
        key = identity(path, f"long {offset} {size}")
        return self._load(key, 3, lambda: (read_target(path, offset, size), {}))[0]

    def _load(
        self, key: str, axes: int, decode: Callable[[], tuple[NDArray[np.uint16], dict[str, Any]]]
    ) -> tuple[NDArray[np.uint16], dict[str, Any]]:
        array, note = self.folder / f"{key}.npy", self.folder / f"{key}.json"
        found = self._map(array, note, axes)
        if found is None:
            values, fields = decode()
            with disk_errors(self.folder):
                write_beside(array, lambda file: np.save(file, values))
                fields = {"shape": list(values.shape), "fields": fields}
                write_beside(note, lambda file: file.write(json.dumps(fields).encode()))
            found = self._map(array, note, axes)
            if found is None:
                raise InputError(
                    f"the cache must keep what is written, but {array} reads back wrong; "
                    f"check the disk"
                )
        return found

    @staticmethod
    def _map(
        array: Path, note: Path, axes: int
    ) -> tuple[NDArray[np.uint16], dict[str, Any]] | None:
        """The mapped array and its note; None where either is missing or torn."""
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
            values = np.load(array, mmap_mode="r", allow_pickle=False)
            if (
                values.dtype != np.uint16
                or values.ndim != axes
                or list(values.shape) != told["shape"]
            ):
                return None
            return values, told["fields"]
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None


def identity(path: Path, role: str) -> str:
    """Key of a decoded file: 24 hex digits that change with the file, the decoder and the recipe."""
    stat = path.stat()
    parts = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, role, decoder_version(), RECIPE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def decoder_version() -> str:
    """rawpy's and LibRaw's versions; another build may develop another ground truth."""
    return f"rawpy {version('rawpy')}, LibRaw {'.'.join(map(str, rawpy.libraw_version))}"


def write_beside(path: Path, write: Callable[[Any], object]) -> None:
    """`write(file)` into a file beside `path` that then takes its name, so that no reader sees
    half of it.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class disk_errors:  # noqa: N801 (used like a function)
    """Turns what the disk refuses into an InputError that names the cache folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise InputError(
                f"the cache folder must be writable and have room, but {self.folder} is "
                f"not ({error.strerror}); "
                "free space or choose another folder"
            ) from error
