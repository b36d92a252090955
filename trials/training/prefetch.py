"""Batches drawn ahead of the training in a thread, so that the device never waits for data.

The crops and the noise of step n come from a generator of its own, seeded with (seed, n). So there
is no generator whose state a checkpoint would have to hold, and a batch that was drawn ahead and
never used is neither lost nor doubled: whoever goes on at step n draws it again.
"""

from __future__ import annotations

import queue
import threading
import time
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from trials.data.pair import TrialData
from trials.device.lock import DeviceLock

# Batches ready before they are needed: one hides the time of drawing, the others a slow read.
AHEAD = 3
# How often the thread looks whether it is still wanted, seconds.
LOOK_S = 0.1

Batch = tuple[Tensor, Tensor]


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The generator of one step's crops and noise, the same in every process."""
    # SeedSequence mixes the two numbers, so that neighbouring seeds and steps share nothing.
    (mixed,) = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed) >> 1)


class Batches:
    """The batches of steps `first`, `first` + 1, ... up to `end`; used as a context, which ends
    the thread.

    `waited_s` is how long `next` has waited for data so far, seconds.
    """

    def __init__(
        self, data: TrialData, batch: int, crop: int, *, seed: int, first: int, end: int
    ) -> None:
        self.waited_s = 0.0
        self._data, self._batch, self._crop = data, batch, crop
        self._seed, self._first, self._end = seed, first, end
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="batches", daemon=True)

    def __enter__(self) -> Batches:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._unwanted.set()
        self._thread.join()

    def next(self) -> Batch:
        """The next step's mosaic (b 1 h w) and target (b 3 h w). Raises what drawing it raised."""
        started = time.perf_counter()
        found = self._ready.get()
        self.waited_s += time.perf_counter() - started
        if isinstance(found, BaseException):
            raise found
        return found

    def _draw(self) -> None:
        lock = DeviceLock(str(self._data.device))
        try:
            for step in range(self._first, self._end):
                if self._unwanted.is_set():
                    return
                generator = step_generator(self._seed, step, self._data.device)
                with lock.shared():  # drawing too would disturb a measurement of latency
                    drawn = self._data.sample(self._batch, self._crop, generator)
                self._put(drawn)
        except BaseException as error:  # told where the batch is asked for
            self._put(error)

    def _put(self, drawn: Batch | BaseException) -> None:
        while not self._unwanted.is_set():
            try:
                return self._ready.put(drawn, timeout=LOOK_S)
            except queue.Full:
                continue
