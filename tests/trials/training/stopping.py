"""A checkpointer that stops its training at a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trials import Checkpointer


class StopAt(Checkpointer):
    """Stops the training after a step."""

    def __init__(self, folder: Path, step: float = math.inf, every_s: float = math.inf) -> None:
        super().__init__(folder=folder, every_s=every_s)
        self.at = step

    def save(self, step: int, state: Callable[[], Any], *, due: bool = False) -> None:
        self.stop = lambda: step >= self.at
        super().save(step, state, due=due)
