"""The events of several workers, replayed in one view."""

from __future__ import annotations

import time
from typing import Any

import optuna

from nas.study.pareto import settle_reference
from nas.study.records import read_rows
from nas.view.terminal import View

# The same note from several workers within so many seconds is displayed once.
SAME_S = 60.0


class EventReplay:
    """Displays events of workers of `study` (see nas/workers/worker.py) in `view`."""

    def __init__(self, study: optuna.Study, view: View) -> None:
        self._study, self._view = study, view
        self._notes: dict[str, float] = {}
        self._ended: list[tuple[int, int | None]] = []

    def show(self, worker: int, event: dict[str, Any]) -> None:
        """Displays an event of `worker`; the end of a trial only with the next `refresh`."""
        match event["event"]:
            case "started":
                self._view.started(event["number"], event["name"], worker=worker)
            case "progress":
                if (current := self._view.state.running.get(worker)) is not None:
                    current.name = event["name"]
                self._view.progress(
                    event["phase"], event["done"], event["total"], event["figures"], worker=worker
                )
            case "ended":
                self._ended.append((worker, event["number"]))
            case "note":
                self._note(worker, event["text"])

    def gone(self, worker: int) -> bool:
        """Displays that `worker` runs nothing any more; the rest as `refresh`."""
        self._ended.append((worker, None))
        return self.refresh()

    def refresh(self) -> bool:
        """Displays the trials that have ended since, by one reading of the study (which takes a
        while for thousands of trials); whether one has a verdict.
        """
        ended, self._ended = self._ended, []
        if not ended:
            return False
        rows = read_rows(self._study)
        if self._view.state.reference is None:
            self._view.state.reference = settle_reference(self._study, rows)
        for worker, number in ended:
            self._view.ended(rows, number, worker=worker)
        return any(number is not None and rows[number].is_verdict for _, number in ended)

    def _note(self, worker: int, text: str) -> None:
        now = time.monotonic()
        if now - self._notes.get(text, -SAME_S) >= SAME_S:
            self._view.note(f"worker {worker}: {text}")
        self._notes[text] = now
