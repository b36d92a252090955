"""The workers of a search as tasks of a Ray cluster, whose scheduler finds them a place with the
CPUs and GPUs they need.

The machines of the cluster have the study's database in common, a server's. Where they share the
runs folder as well, a trial goes on from its checkpoint whichever of them takes it over; where
they don't, from its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from nas.cli.signals import StopSignal
from nas.view.state import SearchOutcome
from nas.study.config import StudyConfig
from nas.study.records import finished, read_rows
from nas.study.storage import default_url
from nas.view.terminal import View
from nas.workers.allocation import LOCAL
from nas.workers.pool import Worker, WorkerPool
from nas.workers.process import Process
from nas.workers.ray_cluster import joined
from nas.workers.ray_tasks import RayTask, Tasks, Work
from nas.workers.worker import Assignment, work
from space import InputError


def run_ray(
    assignments: Sequence[Assignment],
    *,
    study: optuna.Study,
    config: StudyConfig,
    view: View,
    asked: StopSignal,
    address: str,
    gpu_per_worker: float,
    worker: Work = work,
) -> SearchOutcome:
    """Runs a Ray task for each assignment until the study's budget is spent, and shows their
    events in `view`.

    `address` is HOST:PORT of a cluster's head, "auto" for the cluster on this machine, or "local"
    for one that is made here. A task gets its assignment's threads as CPUs, and `gpu_per_worker`
    of a GPU (0: none). Otherwise as nas.workers.run_workers. Raises InputError as well where there
    is no such cluster, or where its machines can't share the study's storage.
    """
    if gpu_per_worker > 1:
        raise InputError(
            f"--gpu-per-worker must be at most 1, since a trial trains on one GPU, but "
            f"got {gpu_per_worker:g}; "
            "give 1, or 0.5 for two workers on each"
        )
    runs = assignments[0].runs
    url = assignments[0].storage or default_url(Path(runs) / config.name)
    with joined(address, url, cpus=sum(one.threads for one in assignments)) as ray:
        gpus = ray.cluster_resources().get("GPU", 0)
        if address == LOCAL and gpus < gpu_per_worker:
            raise InputError(
                f"--gpu-per-worker {gpu_per_worker:g} needs a GPU, but Ray sees none "
                f"here; give --device cpu"
            )
        if address != LOCAL:
            view.note(
                f"the cluster's machines should share {runs}: else a trial that another "
                f"one takes over starts from its beginning"
            )
        tasks = Tasks(ray, worker, gpu_per_worker=gpu_per_worker)
        return _RayCrew(assignments, study, config, view, asked, tasks).run()


class _RayCrew(WorkerPool):
    """A crew whose processes are tasks."""

    def __init__(
        self,
        assignments: Sequence[Assignment],
        study: optuna.Study,
        config: StudyConfig,
        view: View,
        asked: StopSignal,
        tasks: Tasks,
    ) -> None:
        super().__init__(assignments, study, config, view, asked, program=())
        self._selector.close()
        self._selector = self._tasks = tasks

    def _launch(self, assignment: Assignment, log: Path) -> Process:
        return self._tasks.start(assignment, log)

    def _hear(self, worker: Worker, event: dict[str, Any]) -> None:
        super()._hear(worker, event)
        if event["event"] == "end" and finished(read_rows(self._study)) >= self._config.trials:
            for one in self._running():  # who still waits for a place needs none any more
                if isinstance(one.process, RayTask) and one.process.waits_s is not None:
                    one.process.stop()
