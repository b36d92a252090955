"""Real files decoded once into arrays on disk, mapped into memory: a crop reads only its rows.

Every decoded file is an array (`<key>.npy`) and a note (`<key>.json`). The key is the file's path,
size and time of change, rawpy's and LibRaw's versions (another build gives another ground truth)
and the recipe. The note is written last; what is torn all the same is decoded again.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
from numpy.typing import NDArray

from space import InputError
from trials.files import replacing
from trials.raw import RawFrame, read_frame, read_target

# Raised whenever a change of code changes what is decoded or stored.
RECIPE = 4

Decoded = tuple[NDArray[np.uint16], dict[str, Any]]
"""An array, and its note, ready for JSON."""


class DecodedCache:
    """The decoded files of a folder on disk; the folder is made if need be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with _disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def frame(self, path: Path) -> RawFrame:
        """The raw photo `path`, mapped into memory. Raises as `read_frame`, or for a full disk."""

        def decode() -> Decoded:
            frame = read_frame(path)
            fields = {**vars(frame), "camera_to_srgb": frame.camera_to_srgb.tolist()}
            return fields.pop("mosaic"), fields

        mosaic, fields = self._load(_key(path, "short"), 2, decode)
        matrix = np.array(fields.pop("camera_to_srgb"), dtype=np.float32)
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
        return RawFrame(mosaic=mosaic, camera_to_srgb=matrix, **fields)

    def target(self, path: Path, frame: RawFrame) -> NDArray[np.uint16]:
        """The ground truth `path` (h w 3) in register with `frame`. Raises as `read_target`."""
        key = _key(path, f"long {frame.offset} {frame.size}")
        return self._load(key, 3, lambda: (read_target(path, frame.offset, frame.size), {}))[0]

    def _load(self, key: str, axes: int, decode: Callable[[], Decoded]) -> Decoded:
        array, note = self.folder / f"{key}.npy", self.folder / f"{key}.json"
        loaded = _read(array, note, axes)
        if loaded is None:
            values, fields = decode()
            with _disk_errors(self.folder):
                with replacing(array) as temporary, temporary.open("wb") as file:
                    np.save(file, values)
                with replacing(note) as temporary:
                    temporary.write_text(json.dumps({"shape": values.shape, "fields": fields}))
            loaded = _read(array, note, axes)
            if loaded is None:
                raise InputError(
                    f"a disk must keep what is written, but {array} reads back wrong; replace it"
                )
        return loaded


def decoder_version() -> str:
    """rawpy's and LibRaw's versions; another build may develop another ground truth."""
    return f"rawpy {version('rawpy')}, LibRaw {'.'.join(map(str, rawpy.libraw_version))}"


def _key(path: Path, role: str) -> str:
    """24 hex digits that change with the file, the decoder and the recipe."""
    stat = path.stat()
    parts = [str(path.resolve()), stat.st_size, stat.st_mtime_ns, role, decoder_version(), RECIPE]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def _read(array: Path, note: Path, axes: int) -> Decoded | None:
    """The mapped array and its note; None where either is missing or torn."""
    try:
        stored = json.loads(note.read_text(encoding="utf-8"))
        values = np.load(array, mmap_mode="r", allow_pickle=False)
        intact = values.dtype == np.uint16 and list(values.shape) == stored["shape"]
        return (np.asarray(values), stored["fields"]) if intact and values.ndim == axes else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


@contextlib.contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the disk refuses into an InputError that names the cache folder."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"the cache folder must be writable and have room, but {folder} is not "
            f"({error.strerror}); free space or choose another folder"
        ) from error
