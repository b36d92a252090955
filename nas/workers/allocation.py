"""The machine shared out among the workers of a search: who works on which device, with how many
threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.study.config import StudyConfig
from nas.study.storage import check_workers
from nas.workers.worker import Assignment
from space import InputError

LOCAL = "local"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The flags that say how many workers there should be, and where; None: not given."""

    workers: int | None = None
    per_gpu: int | None = None
    """Workers on each GPU."""
    ray: str | None = None
    """Address of a Ray cluster, or "local"."""
    gpu_per_worker: float | None = None
    """Share of a GPU that Ray keeps for each worker."""

    def check(self, device: str, url: str) -> None:
        """Raises InputError where the flags can't be met, or not together, on `device` and the
        storage at `url`.
        """
        for flag, value in (("--workers", self.workers), ("--per-gpu", self.per_gpu)):
            if value is not None and value < 1:
                raise InputError(f"{flag} must be at least 1, but got {value}; leave it out for 1")
        if self.per_gpu is not None and device == "cpu":
            raise InputError(
                f"--per-gpu {self.per_gpu} needs a GPU, but the study's device is the "
                f"CPU; give --workers alone"
            )
        if self.ray is None and self.gpu_per_worker is not None:
            raise InputError(
                f"--gpu-per-worker {self.gpu_per_worker:g} is for --ray; on one machine "
                f"give --per-gpu"
            )
        if self.ray is not None:
            self._check_ray(device, url)
        check_workers(url, self.count(device))

    def _check_ray(self, device: str, url: str) -> None:
        if self.per_gpu is not None:
            share = 1 / self.per_gpu
            raise InputError(
                f"--per-gpu {self.per_gpu} is for one machine; with --ray give "
                f"--gpu-per-worker {share:.2g}"
            )
        if self.gpu_per_worker is not None and not 0 <= self.gpu_per_worker < float("inf"):
            raise InputError(
                f"--gpu-per-worker must be 0 or more, but got {self.gpu_per_worker:g}; "
                f"0.5 puts two on one GPU"
            )
        if self.gpu_per_worker and device == "cpu":
            raise InputError(
                f"--gpu-per-worker {self.gpu_per_worker:g} needs a GPU, but the study's "
                f"device is the CPU; "
                "leave it out, or give --device cuda"
            )
        if self.gpu_per_worker == 0 and device != "cpu":
            raise InputError(
                "--gpu-per-worker must be above 0 for a study on a GPU, but got 0; leave "
                "it out for 1"
            )
        from nas.workers.ray_cluster import check_cluster  # which needs LOCAL

        check_cluster(self.ray or "", url)

    def count(self, device: str) -> int:
        """How many workers."""
        if self.workers is not None:
            return self.workers
        return self.per_gpu * len(gpus(device)) if self.per_gpu else 1

    def gpu_share(self, device: str) -> float:
        """What of a GPU Ray is to keep for each worker."""
        return self.gpu_per_worker if self.gpu_per_worker is not None else float(device != "cpu")


def gpus(device: str) -> list[str]:
    """The GPUs that a settled `device` means for several workers: "cuda" all, "cuda:1" that one,
    "cpu" none.
    """
    if device == "cpu":
        return []
    return (
        [device]
        if ":" in device
        else [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    )


def allocate(
    wanted: WorkerOptions, config: StudyConfig, *, study: str, runs: Path, storage: str | None
) -> list[Assignment]:
    """An assignment for each worker: devices in turn, and the CPU threads in equal parts.

    `study` is what --study says, `config` what it came to on this machine: all workers get that,
    wherever they run. Raises InputError where there are more workers than the GPUs take.
    """
    count = wanted.count(config.device)
    return [
        Assignment(
            index=index + 1,
            study=str(Path(study).resolve()) if study.endswith(".toml") else study,
            changes=flat(config),
            runs=str(runs.resolve()),
            storage=storage,
            device=device,
            threads=max(1, torch.get_num_threads() // count),
        )
        for index, device in enumerate(
            _devices(wanted, config.device, count, config.latency_device)
        )
    ]


def _devices(
    wanted: WorkerOptions, device: str, count: int, latency_device: str | None
) -> list[str]:
    if device == "cpu":
        return ["cpu"] * count
    if wanted.ray is not None:
        return ["cuda:0"] * count  # the one that Ray lets a worker see
    there, each = gpus(device), wanted.per_gpu or 1
    models = {torch.cuda.get_device_name(gpu) for gpu in there[:count]}
    if len(models) > 1 and latency_device is None:
        raise InputError(
            f"the workers' GPUs must be of one model, but there are "
            f"{' and '.join(sorted(models))}; give one --device, or "
            "the --latency-device that times all networks"
        )
    if count > each * len(there):
        raise InputError(
            f"--workers {count} are too many for {len(there)} GPU{'s' * (len(there) > 1)} "
            f"with {each} on each; "
            f"give --per-gpu {-(-count // len(there))}, or fewer workers"
        )
    return [there[index % len(there)] for index in range(count)]


def flat(config: StudyConfig) -> dict[str, Any]:
    """All keys of `config` that say something, flat ("train.steps"), as nas.config.load_config
    takes them.
    """
    keys: dict[str, Any] = {}
    for key, value in config.to_dict().items():
        if isinstance(value, dict):
            keys |= {f"{key}.{name}": one for name, one in value.items() if one is not None}
        elif key != "name" and value is not None:
            keys[key] = value
    return keys
