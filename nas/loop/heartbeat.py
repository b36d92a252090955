"""A running trial's heartbeat: Optuna's, from a thread of its own, so that other machines see that
the trial lives.

The thread also sees when the trial has ended elsewhere, since another machine took it for dead.
"""

from __future__ import annotations

import contextlib
import threading

import optuna
from optuna.trial import TrialState


class Heartbeat:
    """Begins when it is made, and goes on until `end()`, where the trial's storage has heartbeats."""

    def __init__(self, trial: optuna.Trial) -> None:
        self.is_lost = False
        """Whether the trial was seen to run no longer, though nobody here has told it."""
        self._storage, self._trial_id = trial.study._storage, trial._trial_id
        self._ended = threading.Event()
        interval_s = getattr(self._storage, "get_heartbeat_interval", lambda: None)()
        if interval_s is None:
            return
        self._storage.record_heartbeat(self._trial_id)  # type: ignore[attr-defined]  # a BaseHeartbeat, by its interval
        threading.Thread(
            target=self._beat, args=(interval_s,), daemon=True, name="heartbeat"
        ).start()

    def end(self) -> None:
        """No further beat; one that is on its way is not waited for."""
        self._ended.set()

    def _beat(self, interval_s: float) -> None:
        while not self._ended.wait(interval_s):
            # A storage that does not answer is the search's own affair: it will run into it, and
            # says so.
            with contextlib.suppress(Exception):
                running = self._storage.get_trial(self._trial_id).state == TrialState.RUNNING
                if self._ended.is_set():
                    return
                self.is_lost = not running
                if self.is_lost:
                    return
                self._storage.record_heartbeat(self._trial_id)  # type: ignore[attr-defined]
