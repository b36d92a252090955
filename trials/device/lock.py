"""The lock of a device, for all processes: training shares it, a measurement holds it alone.

Two files for each device, locked by flock, so that a lock dies with its process. Training holds
`room` shared for one step at a time; a measurement holds it exclusively. `gate` makes it fair: a
measurement holds the gate while it waits for the room, and every training step passes the gate, so
that overlapping steps of several processes can't keep a measurement waiting for ever.
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

# For tests, which must not see other locks, and containers with temporary folders of their own.
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
                f"({error.strerror}); set {FOLDER_VARIABLE} to another one"
            ) from error

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Inside, no measurement runs on the device."""
        with contextlib.ExitStack() as room:
            with _locked(self._gate, fcntl.LOCK_SH):
                room.enter_context(_locked(self._room, fcntl.LOCK_SH))
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process that takes the lock uses the device."""
        with _locked(self._gate, fcntl.LOCK_EX), _locked(self._room, fcntl.LOCK_EX):
            yield


def lock_folder() -> Path:
    """Where this user's locks are: $DARK_NAS_LOCKS, or a folder in the temporary folder."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path(tempfile.gettempdir()) / f"dark-nas-locks-{os.getuid()}"


def device_key(device: str) -> str:
    """The same name in every process for one device: a GPU's UUID, since indices are relative."""
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
