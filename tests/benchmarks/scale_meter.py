"""Where a process spends its time: every moment belongs to the innermost label that is open, so
that shares sum to one.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

OTHER = "everything else"


class Meter:
    """Seconds by label, in the thread that made it; other threads (heartbeats) pass unmeasured.

    `clock` is that of the wall, or time.thread_time for processor time alone, which a busy machine
    does not change.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._open = [OTHER]
        self._since = clock()
        self._thread = threading.get_ident()

    @contextlib.contextmanager
    def at(self, label: str) -> Iterator[None]:
        """While inside, and not inside another label further in, time is `label`'s."""
        if threading.get_ident() != self._thread:
            yield
            return
        self._turn()
        self._open.append(label)
        self.calls[label] += 1
        try:
            yield
        finally:
            self._turn()
            self._open.pop()

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Replaces the function `name` of `owner` by one whose time is `label`'s."""
        inner: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(inner)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.at(label):
                return inner(*args, **kwargs)

        setattr(owner, name, timed)

    def wrap_all(self, owner: type, label: str) -> None:
        """The same for all public methods that `owner` itself defines."""
        for name, member in list(vars(owner).items()):
            if inspect.isfunction(member) and not name.startswith("_"):
                self.wrap(owner, name, label)

    def take(self) -> dict[str, float]:
        """The seconds since the last `take`, by label."""
        self._turn()
        taken = dict(self.seconds)
        self.seconds.clear()
        return taken

    def _turn(self) -> None:
        now = self._clock()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now


class TimedLock:
    """A context manager of another's making (`study_lock`), its wait told apart from the time for
    which it is held.
    """

    def __init__(self, meter: Meter, inner: Any) -> None:
        self._meter, self._inner, self.held_s, self._since = meter, inner, 0.0, 0.0

    def __enter__(self) -> Any:
        with self._meter.at("waiting to ask"):
            given = self._inner.__enter__()
        self._since = time.perf_counter()
        return given

    def __exit__(self, *error: Any) -> Any:
        self._meter.calls["asks"] += 1
        self._meter.seconds["lock held"] += time.perf_counter() - self._since
        return self._inner.__exit__(*error)


def cpu_s() -> float:
    """Seconds of processor time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
