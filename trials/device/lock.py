"""Who has the device: training shares it, a measurement takes it alone, across all processes of
the machine.

Two files for each device, locked by flock, so that a lock dies with its process. Training holds
`room` shared for one step at a time; a measurement holds it exclusively. `gate` keeps the order
fair: a measurement holds the gate while it waits for the room, and a training step has to pass the
gate, so that steps which overlap in several processes can't keep a measurement waiting for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from space import InputError

# For processes that should not see each other's locks (tests), or that see different temporary
# folders (containers).
FOLDER_VARIABLE = "DARK_NAS_LOCKS"


class DeviceLock:
    """The lock of one device: `shared()` for work that may overlap, `alone()` for a measurement.

    Both wait as long as it takes. Not re-entrant. Raises InputError where the lock's folder can't
    be written.
    """

    def __init__(self, device: str, folder: Path | None = None) -> None:
        folder = folder or lock_folder()
        name = device_key(device)
        self._gate = folder / f"{name}.gate"
        self._room = folder / f"{name}.room"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o777)
            for path in (self._gate, self._room):
                path.touch(mode=0o666, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the folder of device locks must be writable, but {folder} is not "
                f"({error.strerror}); "
                f"set {FOLDER_VARIABLE} to another one"
            ) from error

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """While inside, no measurement runs on the device."""
        with _locked(self._gate, fcntl.LOCK_SH):
            room = os.open(self._room, os.O_RDWR)
            try:
                fcntl.flock(room, fcntl.LOCK_SH)
            except BaseException:
                os.close(room)
                raise
        try:
            yield
        finally:
            os.close(room)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """While inside, nobody else who asks uses the device."""
        with _locked(self._gate, fcntl.LOCK_EX), _locked(self._room, fcntl.LOCK_EX):
            yield


def lock_folder() -> Path:
    """Where the locks of this machine and user lie: $DARK_NAS_LOCKS, or a folder in the temporary
    folder.
    """
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path(tempfile.gettempdir()) / f"dark-nas-locks-{os.getuid()}"


def device_key(device: str) -> str:
    """A name that is the same in every process for the same device: GPUs by their UUID, since
    indices are relative.
    """
    where = torch.device(device)
    if where.type != "cuda":
        return where.type
    properties = torch.cuda.get_device_properties(where)
    return f"cuda-{getattr(properties, 'uuid', where.index or 0)}"


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
