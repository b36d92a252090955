"""Whether the process was asked to stop (SIGTERM, as schedulers do, or Ctrl-C), and when that may cut what it does.

Mostly it may at once, by an exception. In the middle of a training it may not: the first signal is only written down, so
that the training ends at a step, with a checkpoint. A second signal always cuts.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nas.command import EXIT_INTERRUPTED


class Asked:
    """The signals that came since `installed()`; called, it says whether there was one."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.deferring = False
        """While True, the first signal is only written down: whoever sets it asks again and again."""

    def __call__(self) -> bool:
        return bool(self.signals)

    @property
    def status(self) -> int:
        """The exit status that goes with it: 0 where a scheduler asked (nothing is lost, nothing failed), 130 for Ctrl-C."""
        return 0 if self.signals and self.signals[0] == signal.SIGTERM else EXIT_INTERRUPTED

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Asks as the signal `number` would: raises KeyboardInterrupt, unless that is deferred."""
        self.signals.append(number)
        if not self.deferring or len(self.signals) > 1:
            raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[Asked]:
        """Inside, SIGINT and SIGTERM come here."""

        def note(number: int, frame: FrameType | None) -> None:
            self.stop(number)

        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
