"""Checkpoints of a training: complete or absent, and verified when they are read.

A file is a header line (format, and the SHA-256 of the rest) and what torch.save wrote. The one
before the newest stays, so that there is always one to fall back on.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from space import Genome
from trials.config import TrialConfig
from trials.data.pair import TrialData
from trials.files import replacing
from trials.latency.measure import Latency, device_name
from trials.latency.statistics import LatencyRatio
from trials.result import RungScore

MAGIC = b"dark-nas checkpoint 2 "
NAME = re.compile(r"step_(\d+)\.ckpt")
DAMAGED = ".damaged"
# The newest, and the one to fall back on.
RETAINED = 2

State = dict[str, Any]


class DamagedError(ValueError):
    """A checkpoint's file is not what was written."""


class PreemptedError(KeyboardInterrupt):
    """A training was asked to stop, and is saved; no trial's failure, as a KeyboardInterrupt."""


@dataclass(kw_only=True)
class Checkpointer:
    """The checkpoints of one running training in `folder`, which holds nothing else.

    One is written every `every_s` seconds. Once `stop` returns True, the state is written and
    PreemptedError raised.
    """

    folder: Path
    every_s: float = 20.0
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    damaged: list[Path] = field(default_factory=list)
    """Checkpoints that `load` found damaged, and renamed."""
    step: int = field(init=False, default=0)
    """Step of the last checkpoint that was saved."""
    _identity: State = field(init=False, default_factory=dict)
    _written: float = field(init=False)

    def __post_init__(self) -> None:
        self._written = self.clock()

    def load(self, identity: Mapping[str, Any]) -> State | None:
        """The newest intact state, on the CPU, if it was saved under this `identity`; else None.

        Later states are saved under `identity`. Removes what a killed process left half written.
        """
        self._identity = dict(identity)
        self._sweep()
        for path in self.paths():
            try:
                state = read(path)
            except DamagedError:
                self.damaged.append(path)
                path.replace(path.with_name(path.name + DAMAGED))
            else:
                return state if state.get("identity") == self._identity else None
        return None

    def save(self, step: int, state: Callable[[], State], *, due: bool = False) -> None:
        """Writes `state()`, the state after `step` steps, if it is time, `due`, or to stop.

        Raises OSError for a full disk, and PreemptedError where the training is to stop.
        """
        stopping = self.stop()
        if due or stopping or self.clock() - self._written >= self.every_s:
            self._write(step, {"identity": self._identity, **state()})
            self.step, self._written = step, self.clock()
        if stopping:
            raise PreemptedError

    def check_stop(self) -> None:
        """Raises PreemptedError, without a checkpoint, where the training is to stop."""
        if self.stop():
            raise PreemptedError

    def discard(self) -> None:
        """Removes all checkpoints, and the folder."""
        self._sweep()
        for path in [*self.paths(), *self.folder.glob(f"*{DAMAGED}")]:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def paths(self) -> list[Path]:
        """The checkpoints, newest first."""
        paths = [path for path in self.folder.glob("step_*.ckpt") if NAME.fullmatch(path.name)]
        return sorted(paths, key=lambda path: int(path.stem[5:]), reverse=True)

    def _write(self, step: int, state: State) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write(self.folder / f"step_{step:08d}.ckpt", state)
        for old in self.paths()[RETAINED:]:
            old.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for path in self.folder.glob(".step_*"):
            path.unlink(missing_ok=True)


def write(path: Path, state: State) -> None:
    """Writes a state, all or nothing. Raises OSError for a full disk."""
    memory = io.BytesIO()
    torch.save(state, memory)
    content = memory.getbuffer()
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n")
        file.write(content)


def read(path: Path) -> State:
    """The state in a checkpoint, on the CPU. Raises DamagedError where it is not intact."""
    try:
        header, _, body = path.read_bytes().partition(b"\n")
        if header != MAGIC + hashlib.sha256(body).hexdigest().encode():
            raise DamagedError(f"{path} is damaged")
        state: State = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except DamagedError:
        raise
    except Exception as error:  # no file, or this torch can't read what is intact
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise DamagedError(f"{path} can't be read ({why})") from error
    return state


class TrialCheckpoint:
    """What a trial of `genome` resumes from, and saves: latency, scores of its rungs, training."""

    def __init__(
        self, checkpointer: Checkpointer, genome: Genome, config: TrialConfig, data: TrialData
    ) -> None:
        self.check_stop = checkpointer.check_stop
        self._checkpointer = checkpointer
        identity = {
            "digest": genome.digest,
            "train": asdict(config.train),
            "latency": asdict(config.latency),
            "seed": config.seed,
            "data": json.dumps(data.description, sort_keys=True, default=str),
            "device": data.device.type,
        }
        state = checkpointer.load(identity) or {}
        self.training: State | None = state.get("training")
        self.rungs = [RungScore(**rung) for rung in state.get("rungs", [])]
        """Scores of the rungs that were reached; the trial appends to it."""
        self.timed: tuple[Latency, LatencyRatio] | None = None
        """Latency and ratio to MO; as they were measured, if on the same model of device."""
        latency = state.get("latency")
        if latency is not None and latency["device_name"] == device_name(config.device):
            self.timed = Latency.from_dict(latency), LatencyRatio(**state["ratio_to_mo"])

    def save(self, step: int, state: Callable[[], State], *, due: bool = False) -> None:
        """Saves a training's `state()` with all else, as `Checkpointer.save`."""
        assert self.timed is not None
        latency, ratio = self.timed

        def trial_state() -> State:
            return {
                "latency": latency.to_dict(),
                "ratio_to_mo": ratio.to_dict(),
                "rungs": [asdict(rung) for rung in self.rungs],
                "training": state(),
            }

        self._checkpointer.save(step, trial_state, due=due)
