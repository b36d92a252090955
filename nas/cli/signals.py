"""Requests to stop (SIGTERM, as schedulers send it, or Ctrl-C), and when they may interrupt.

Mostly at once, by an exception. Not in the middle of a training: there the first signal is only
recorded, so that the training ends at a step, with a checkpoint. A second signal always
interrupts, but never a query to a database: a driver that was interrupted loses its place in the
talk with the server, and its next query may wait for ever, or get another's answer.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nas.cli.parser import EXIT_INTERRUPTED

# So many signals wait for the end of `defer_signals`; one more ends the process.
MOST_DEFERRED = 2


class StopSignal:
    """The signals that came since `installed()`."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        # While True, the first signal is only recorded: whoever sets it polls `requested`.
        self.deferring = False
        self._depth, self._due = 0, False

    def requested(self) -> bool:
        """Whether a stop was requested."""
        return bool(self.signals)

    @property
    def status(self) -> int:
        """The exit status: 0 after a scheduler's SIGTERM (nothing failed), 130 after Ctrl-C."""
        return 0 if self.signals and self.signals[0] == signal.SIGTERM else EXIT_INTERRUPTED

    def request(self, number: int = signal.SIGTERM) -> None:
        """Acts as the signal `number`: raises KeyboardInterrupt, unless that is deferred."""
        self.signals.append(number)
        if self.deferring and len(self.signals) == 1:
            return
        if self._depth and len(self.signals) > MOST_DEFERRED:
            os._exit(128 + number)  # a call that does not end, and a user who insists
        self._due = self._depth > 0
        if not self._due:
            raise KeyboardInterrupt

    @contextmanager
    def defer_signals(self) -> Iterator[None]:
        """For short work: a signal interrupts at its end. Does nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._due and not self._depth:
                self._due = False
                raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[StopSignal]:
        """Inside, SIGINT and SIGTERM come here."""

        def handle(number: int, frame: FrameType | None) -> None:
            self.request(number)

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, handle) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
