"""Whether the process was asked to stop (SIGTERM, as schedulers do, or Ctrl-C), and when that may
cut what it does.

Mostly it may at once, by an exception. In the middle of a training it may not: the first signal is
only written down, so that the training ends at a step, with a checkpoint. A second signal always
cuts; but none cuts a question to a database before its answer is there: a driver whose wait was
cut loses its place in the talk with the server, and its next question may wait for ever, or be
given another's answer.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nas.cli.parser import EXIT_INTERRUPTED

# So many signals wait for the end of what is held; one more ends the process.
HELD_AT_MOST = 2


class StopSignal:
    """The signals that came since `installed()`; called, it says whether there was one."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.deferring = False
        """While True, the first signal is only written down: whoever sets it asks again and again.
        """
        self._held, self._due = 0, False

    def __call__(self) -> bool:
        return bool(self.signals)

    @property
    def status(self) -> int:
        """The exit status that goes with it: 0 where a scheduler asked (nothing is lost, nothing
        failed), 130 for Ctrl-C.
        """
        return 0 if self.signals and self.signals[0] == signal.SIGTERM else EXIT_INTERRUPTED

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Asks as the signal `number` would: raises KeyboardInterrupt, unless that is deferred, or
        comes at the end of `held()`.
        """
        self.signals.append(number)
        if self.deferring and len(self.signals) == 1:
            return
        if self._held and len(self.signals) > HELD_AT_MOST:
            os._exit(
                128 + number
            )  # a call that does not end, and a user who has asked often enough
        self._due = self._held > 0
        if not self._due:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no signal cuts; one that would have does so at the end, by KeyboardInterrupt.
        For what ends soon by itself.

        Only the main thread is ever cut, so in any other thread this does nothing.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            if self._due and not self._held:
                self._due = False
                raise KeyboardInterrupt

    @contextmanager
    def installed(self) -> Iterator[StopSignal]:
        """Inside, SIGINT and SIGTERM come here."""

        def note(number: int, frame: FrameType | None) -> None:
            self.stop(number)

        before = {
            number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
