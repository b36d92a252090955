"""Where workers on a Ray cluster leave their events for the process that shows them.

It lives as an actor on that process's own machine: no other machine's death takes it along. It
imports next to nothing, so that it is there at once.
"""

from __future__ import annotations

from collections import deque
from typing import Any

# Should nobody look for long, the oldest events go: the study itself holds all that matters.
MOST_EVENTS = 10_000


class Mailbox:
    """Events of all workers, in the order in which they came."""

    def __init__(self) -> None:
        self._events: deque[tuple[int, dict[str, Any]]] = deque(maxlen=MOST_EVENTS)

    def put(self, worker: int, event: dict[str, Any]) -> None:
        """Leaves what `worker` tells."""
        self._events.append((worker, event))

    def take(self) -> list[tuple[int, dict[str, Any]]]:
        """All that came since the last call."""
        events = list(self._events)
        self._events.clear()
        return events
