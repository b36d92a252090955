"""The events of several workers, shown in one view."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import optuna

from nas.loop.search_loop import settle_reference
from nas.study.records import read_rows
from nas.view.terminal import View

# The same word from several workers within so many seconds is told once.
SAME_S = 60.0


class EventReplay:
    """Shows what workers of `study` tell (nas/workers/worker.py) in `view`."""

    def __init__(
        self, study: optuna.Study, view: View, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._study, self._view, self._clock = study, view, clock
        self._told: dict[str, float] = {}
        self._ended: list[tuple[int, int | None]] = []

    def show(self, worker: int, event: dict[str, Any]) -> None:
        """Shows what `worker` told; that a trial has ended only with the next `refresh`."""
        match event["event"]:
            case "started":
                self._view.started(event["number"], event["name"], worker=worker)
            case "progress":
                if (current := self._view.board.running.get(worker)) is not None:
                    current.name = event["name"]
                self._view.progress(
                    event["phase"], event["done"], event["total"], event["figures"], worker=worker
                )
            case "ended":
                self._ended.append((worker, event["number"]))
            case "note":
                self._note(worker, event["text"])

    def gone(self, worker: int) -> bool:
        """Shows that `worker` is at nothing any more, and what has ended until now, as `refresh`."""
        self._ended.append((worker, None))
        return self.refresh()

    def refresh(self) -> bool:
        """Shows what has ended since, by one look into the study (of thousands of trials, that
        takes a while).

        True where a trial with a verdict about its network was among that.
        """
        ended, self._ended = self._ended, []
        if not ended:
            return False
        rows = read_rows(self._study)
        if self._view.board.reference is None:
            self._view.board.reference = settle_reference(self._study, rows)
        for worker, number in ended:
            self._view.ended(rows, number, worker=worker)
        return any(number is not None and rows[number].is_verdict for _, number in ended)

    def _note(self, worker: int, text: str) -> None:
        now = self._clock()
        if now - self._told.get(text, -SAME_S) >= SAME_S:
            self._view.note(f"worker {worker}: {text}")
        self._told[text] = now
