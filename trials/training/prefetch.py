"""Batches prepared ahead of the training in a thread, so that the device never waits for data.

Each batch comes with the state of the crops' generator after it. A checkpoint holds that of the
last batch that was used, so batches that were prepared and never used are neither lost nor
repeated.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time

import torch
from torch import Tensor

from trials.data.pair import TrialData
from trials.device import DeviceLock

# Batches ready before they are needed: one hides the time of a crop, the others a slow read.
AHEAD = 3
POLL_S = 0.1

Batch = tuple[Tensor, Tensor]


class Batches:
    """`count` batches of crops from one generator. A context, whose end ends the thread.

    `generator_state` is the generator's after the last batch that `next` returned, `waited_s` how
    long `next` has waited so far.
    """

    def __init__(
        self, data: TrialData, batch: int, crop: int, *, generator: torch.Generator, count: int
    ) -> None:
        self.waited_s = 0.0
        self.generator_state = generator.get_state()
        self._data, self._batch, self._crop = data, batch, crop
        self._generator, self._count = generator, count
        self._queue: queue.Queue[tuple[Batch, Tensor] | BaseException] = queue.Queue(AHEAD)
        self._stopped = threading.Event()
        self._stream: torch.cuda.Stream | None = None
        if data.device.type == "cuda":
            self._stream = torch.cuda.Stream(data.device)  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream(data.device))
        self._thread = threading.Thread(target=self._fill, name="batches", daemon=True)

    def __enter__(self) -> Batches:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def is_ready(self) -> bool:
        """Whether `next` returns at once."""
        return not self._queue.empty()

    def next(self) -> Batch:
        """The next mosaic (b 1 h w) and target (b 3 h w). Raises what preparing it raised."""
        started = time.perf_counter()
        item = self._queue.get()
        self.waited_s += time.perf_counter() - started
        if isinstance(item, BaseException):
            raise item
        batch, self.generator_state = item
        if self._stream:
            for tensor in batch:  # else its memory might be reused before this stream has read it
                tensor.record_stream(torch.cuda.current_stream(tensor.device))
        return batch

    def _fill(self) -> None:
        lock, stream = DeviceLock(str(self._data.device)), self._stream
        try:
            for _ in range(self._count):
                if self._stopped.is_set():
                    return
                # A measurement of latency waits for the end of a crop too; on a GPU for the
                # device's, which on a stream of its own doesn't wait for the training's steps.
                where = torch.cuda.stream(stream) if stream else contextlib.nullcontext()
                with lock.shared(), where:
                    batch = self._data.sample(self._batch, self._crop, self._generator)
                    if stream:
                        stream.synchronize()
                self._put((batch, self._generator.get_state()))
        except BaseException as error:  # raised again by `next`
            self._put(error)

    def _put(self, item: tuple[Batch, Tensor] | BaseException) -> None:
        while not self._stopped.is_set():
            try:
                return self._queue.put(item, timeout=POLL_S)
            except queue.Full:
                continue
