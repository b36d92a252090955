"""A long training's checkpoints: whole or not there, and known to be whole when they are read
again.

A file is a line of its own (what it is, and the SHA-256 of the rest) and what torch.save wrote. It
is written beside its place and renamed; the one before stays until then, so that there is always
one to go back to.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trials.files import replacing

MAGIC = b"dark-nas checkpoint 1 "
NAME = re.compile(r"step_(\d+)\.ckpt")
# The newest, and the one to fall back on.
KEPT = 2


@dataclass(frozen=True)
class Found:
    """What `Checkpoints.newest` found: a state and its step (None: there is none), and the files
    that are damaged.
    """

    step: int | None = None
    state: dict[str, Any] | None = None
    damaged: list[Path] = field(default_factory=list)


class DamagedError(ValueError):
    """A checkpoint's file is not what was written."""


class Checkpoints:
    """The checkpoints of one folder, which is made when the first is written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def paths(self) -> list[Path]:
        """The files there are, newest first."""
        found = [path for path in self.folder.glob("step_*.ckpt") if NAME.fullmatch(path.name)]
        return sorted(found, key=_step, reverse=True)

    def write(self, step: int, state: dict[str, Any]) -> Path:
        """Writes the state after `step` steps, then drops all but the last two. Raises OSError for
        a full disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"step_{step:08d}.ckpt"
        memory = io.BytesIO()
        torch.save(state, memory)
        written = memory.getbuffer()
        with replacing(path) as beside, beside.open("wb") as file:
            file.write(MAGIC + hashlib.sha256(written).hexdigest().encode() + b"\n")
            file.write(written)
        for old in self.paths()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> Found:
        """The newest state that is whole, on the CPU."""
        damaged: list[Path] = []
        for path in self.paths():
            try:
                return Found(_step(path), read(path), damaged)
            except DamagedError:
                damaged.append(path)
        return Found(damaged=damaged)

    def sweep(self) -> None:
        """Removes what a killed process left half written. Only for who alone works in the folder."""
        for path in self.folder.glob(".step_*"):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes all of them, and the folder where nothing else is in it."""
        self.sweep()
        for path in self.paths():
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def read(path: Path) -> dict[str, Any]:
    """The state that was written to `path`, on the CPU. Raises DamagedError where it is not whole."""
    try:
        head, _, body = path.read_bytes().partition(b"\n")
        if (
            not head.startswith(MAGIC)
            or hashlib.sha256(body).hexdigest().encode() != head[len(MAGIC) :]
        ):
            raise DamagedError(f"{path} is damaged")
        state: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except OSError as error:
        raise DamagedError(f"{path} can't be read ({error.strerror})") from error
    except DamagedError:
        raise
    except Exception as error:  # whole, and yet this torch can't read it
        raise DamagedError(f"{path} can't be read ({type(error).__name__})") from error
    return state


def _step(path: Path) -> int:
    match = NAME.fullmatch(path.name)
    assert match is not None
    return int(match[1])
