"""What a trial leaves behind while it runs, so that whoever takes it over loses little: its
training's state.

A checkpoint is written every so many seconds, at each rung, and when the trial is asked to stop.
It goes on only in a trial of the very same network, recipe, seed and data; anything else starts
anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trials.training.checkpoints import Checkpoints

State = dict[str, Any]
DAMAGED = ".damaged"


class PreemptedError(KeyboardInterrupt):
    """A training was asked to stop; a checkpoint holds all of it. As a KeyboardInterrupt it is no
    trial's failure.
    """


@dataclass(kw_only=True)
class Checkpointer:
    """The checkpoints of one running trial in `folder`, which belongs to its network alone.

    `every_s` seconds lie between two of them. `stop` is asked after every step; where it says True
    the state is written and PreemptedError raised.
    """

    folder: Path
    every_s: float = 20.0
    stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    damaged: list[Path] = field(default_factory=list)
    """Checkpoints that were found damaged, and set aside."""
    _written: float = field(init=False)

    def __post_init__(self) -> None:
        self._written = self.clock()

    def found(self, identity: Mapping[str, Any]) -> State | None:
        """The newest whole state that was kept for the same `identity`; None where there is none."""
        checkpoints = Checkpoints(self.folder)
        checkpoints.sweep()
        found = checkpoints.newest()
        for path in found.damaged:
            # Out of the way of the next ones, which have the same names.
            path.replace(path.with_name(path.name + DAMAGED))
            self.damaged.append(path)
        return (
            found.state
            if found.state is not None and found.state.get("identity") == dict(identity)
            else None
        )

    def keep(self, step: int, state: Callable[[], State], *, due: bool = False) -> None:
        """Writes `state()`, the state after `step` steps, where it is time, `due`, or the trial is
        asked to stop.

        Raises OSError for a full disk, and PreemptedError where the trial is asked to stop.
        """
        stopping = self.stop()
        if due or stopping or self.clock() - self._written >= self.every_s:
            Checkpoints(self.folder).write(step, state())
            self._written = self.clock()
        if stopping:
            raise PreemptedError

    def discard(self) -> None:
        """Removes all of it: the trial has its result."""
        for path in self.folder.glob(f"*{DAMAGED}"):
            path.unlink(missing_ok=True)
        Checkpoints(self.folder).remove()
