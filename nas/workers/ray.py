"""The workers of a search as tasks of a Ray cluster, which finds them CPUs and GPUs.

The cluster's machines share the study's database, a server's. If they share the runs folder too, a
trial goes on from its checkpoint whichever of them takes it over; otherwise from its beginning.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from nas.cli.parser import one_line
from nas.cli.signals import StopSignal
from nas.study.config import StudyConfig
from nas.study.storage import default_url, mask_password
from nas.view.state import SearchOutcome
from nas.view.terminal import View
from nas.workers.pool import PROGRAM, WorkerPool
from nas.workers.process import MODULE, Assignment, Event
from nas.workers.ray_cluster import LOCAL, joined
from nas.workers.ray_task import BEGUN, run_worker
from space import InputError

# Seconds after which it is noted that a worker still waits for a place.
PLACE_S = 60.0


def run_ray(
    assignments: Sequence[Assignment],
    *,
    study: optuna.Study,
    config: StudyConfig,
    view: View,
    stop: StopSignal,
    address: str,
    gpu_per_worker: float,
    program: Sequence[str] = PROGRAM,
) -> SearchOutcome:
    """Runs a Ray task for each assignment until the study's budget is spent; `view` displays them.

    `address` is HOST:PORT of a cluster's head, "auto" for the cluster on this machine, or "local"
    for one that is made here. A task gets its assignment's threads as CPUs, and `gpu_per_worker`
    of a GPU (0: none). Otherwise as `run_workers`. Raises InputError as well where there is no
    such cluster, or where its machines can't share the study's storage.
    """
    runs = assignments[0].runs
    url = assignments[0].storage or default_url(Path(runs) / config.name)
    with joined(address, url, cpus=sum(one.threads for one in assignments)) as ray:
        if address == LOCAL and ray.cluster_resources().get("GPU", 0) < gpu_per_worker:
            share = f"--gpu-per-worker {gpu_per_worker:g}"
            raise InputError(f"{share} needs a GPU, but Ray sees none here; give --device cpu")
        if address != LOCAL:
            lost = "a trial that another one takes over starts from its beginning"
            view.note(f"the cluster's machines should share {runs}: else {lost}")
        launcher = RayLauncher(ray, program, gpu_per_worker)
        return WorkerPool(assignments, launcher, study, config, view, stop).run()


class RayTask:
    """A worker's task; a nas.workers.process.Process."""

    def __init__(self, ray: Any, ref: Any, assignment: Assignment, needs: str) -> None:
        self.index, self.ref = assignment.index, ref
        self.waiting, self.lost, self.ended = True, False, False
        self._ray, self._url, self._needs = ray, assignment.storage, needs
        self._submitted = time.monotonic()
        self._events: list[Event] = []
        self._status, self._last_words = 0, ""
        self._noted = self._stopped = False

    def receive(self, event: Event) -> None:
        """Takes in what came through the queue."""
        if event["event"] == BEGUN:
            self.waiting = False
        else:
            self._events.append(event)

    def events(self) -> list[Event] | None:
        if self.waiting and not self._noted and time.monotonic() - self._submitted > PLACE_S:
            self._noted = True
            text = f"waits for a place in the cluster ({self._needs})"
            self._events.append({"event": "note", "text": text})
        events, self._events = self._events, []
        return events if events or not self.ended else None

    def stop(self) -> None:
        if not self._stopped and not self.ended:
            self._stopped = True
            self._ray.cancel(self.ref)

    def kill(self) -> None:
        self._stopped = True
        self._ray.cancel(self.ref, force=True)

    def close(self) -> int:
        return self._status

    def last_words(self) -> str:
        return self._last_words

    def finish(self) -> None:
        """Takes in how it ended. To be called when `ref` is ready."""
        self.ended, self.waiting = True, False
        errors = self._ray.exceptions
        try:
            result = self._ray.get(self.ref)
        except errors.TaskCancelledError:
            self._events.append({"event": "end", "reason": "stopped", "status": 0})
        except errors.RayError as error:
            self._status = 1
            self.lost = isinstance(error, (errors.NodeDiedError, errors.LocalRayletDiedError))
            text = f"{type(error).__name__}: {one_line(error)}"
            text = text.replace(self._url, mask_password(self._url)) if self._url else text
            self._last_words = "its machine died" if self.lost else text[:300]
        else:
            self._status, self._last_words = result["status"], result["last_words"]
            if result["signalled"] and not self._stopped:
                self.lost, self._last_words = True, "its machine is taken away"
            elif result["end"]:
                self._events.append(result["end"])


class RayLauncher:
    """Starts workers as tasks of the cluster that this process has joined."""

    def __init__(self, ray: Any, program: Sequence[str], gpu_per_worker: float) -> None:
        from ray.util.queue import Queue
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray, self._program, self._gpus = ray, tuple(program), gpu_per_worker
        # On this machine, so that no other machine's death takes it along.
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        options = {"num_cpus": 0, "max_restarts": -1, "scheduling_strategy": here}
        self._queue = Queue(actor_options=options)

    def start(self, assignment: Assignment, log: Path) -> RayTask:
        # A process of its own for each, as on one machine; and it is the pool that starts a dead
        # worker again, not Ray.
        remote = self._ray.remote(max_calls=1, max_retries=0, scheduling_strategy="SPREAD")
        task = remote(run_worker).options(
            num_cpus=assignment.threads, num_gpus=self._gpus, name=f"{MODULE} {assignment.index}"
        )
        # As an object: Ray may show direct arguments, and the storage's URL must stay hidden.
        ref = task.remote(self._ray.put(assignment), log, self._program, self._queue)
        needs = f"{assignment.threads} CPUs" + (f" and {self._gpus:g} GPU" if self._gpus else "")
        return RayTask(self._ray, ref, assignment, needs)

    def wait(self, processes: Sequence[RayTask], timeout_s: float) -> None:
        running = {task.ref: task for task in processes if not task.ended}
        ready = []
        if running:
            ready, _ = self._ray.wait(list(running), num_returns=1, timeout=timeout_s)
        tasks = {task.index: task for task in processes}
        # Should the queue fail, only what is displayed is lost: the study holds the rest.
        with contextlib.suppress(self._ray.exceptions.RayError):
            for index, event in self._queue.get_nowait_batch(self._queue.qsize()):
                if index in tasks:
                    tasks[index].receive(event)
        for ref in ready:
            running[ref].finish()
