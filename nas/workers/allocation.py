"""Devices and CPU threads of the machine, allocated to the workers of a search."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nas.study.config import StudyConfig
from nas.study.storage import check_workers
from nas.workers.process import Assignment
from nas.workers.ray_cluster import LOCAL, check_cluster
from space import InputError

__all__ = ["LOCAL", "WorkerOptions", "allocate"]


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """The flags that say how many workers there should be, and where; None: not given."""

    workers: int | None = None
    per_gpu: int | None = None
    ray: str | None = None  # address of a Ray cluster, or "local"
    gpu_per_worker: float | None = None  # share of a GPU that Ray reserves for each worker

    def check(self, device: str, url: str) -> None:
        """Raises InputError where the flags can't be met on `device` and the storage at `url`."""
        for flag, value in (("--workers", self.workers), ("--per-gpu", self.per_gpu)):
            if value is not None and value < 1:
                raise InputError(f"{flag} must be at least 1, but got {value}; leave it out for 1")
        if self.per_gpu is not None and device == "cpu":
            raise InputError(
                f"--per-gpu {self.per_gpu} needs a GPU, but the study is on the CPU; use --workers"
            )
        if self.ray is None and self.gpu_per_worker is not None:
            share = f"--gpu-per-worker {self.gpu_per_worker:g}"
            raise InputError(f"{share} is for --ray; on one machine give --per-gpu")
        if self.ray is not None:
            self._check_ray(device)
            check_cluster(self.ray, url)
        check_workers(url, self.count(device))

    def _check_ray(self, device: str) -> None:
        share = self.gpu_per_worker
        if self.per_gpu is not None:
            raise InputError(
                f"--per-gpu {self.per_gpu} is for one machine; with --ray give --gpu-per-worker "
                f"{1 / self.per_gpu:.2g}"
            )
        on_cpu = device == "cpu"
        if share is not None and not (share == 0 if on_cpu else 0 < share <= 1):
            rule = "left out on a CPU" if on_cpu else "above 0 and at most 1, one GPU for a trial"
            raise InputError(
                f"--gpu-per-worker must be {rule}, but got {share:g} for --device {device}; on a "
                "GPU 0.5 puts two workers on each"
            )

    def count(self, device: str) -> int:
        """How many workers."""
        if self.workers is not None:
            return self.workers
        return self.per_gpu * len(gpus(device)) if self.per_gpu else 1

    def gpu_share(self, device: str) -> float:
        """The share of a GPU that Ray is to reserve for each worker."""
        return self.gpu_per_worker if self.gpu_per_worker is not None else float(device != "cpu")


def gpus(device: str) -> list[str]:
    """The GPUs that a settled `device` means: all for "cuda", one for "cuda:1", none for "cpu"."""
    if device == "cpu":
        return []
    if ":" in device:
        return [device]
    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def allocate(
    options: WorkerOptions, config: StudyConfig, *, study: str, runs: Path, storage: str | None
) -> list[Assignment]:
    """An assignment for each worker: devices in turn, and the CPU threads in equal parts.

    `study` is --study's value, `config` its settings on this machine, which all workers get,
    wherever they run. Raises InputError where there are more workers than the GPUs take.
    """
    count = options.count(config.device)
    devices = _devices(options, config.device, count, config.latency_device)
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
        for index, device in enumerate(devices)
    ]


def _devices(
    options: WorkerOptions, device: str, count: int, latency_device: str | None
) -> list[str]:
    if device == "cpu":
        return ["cpu"] * count
    if options.ray is not None:
        return ["cuda:0"] * count  # the one that Ray lets a worker see
    there, each = gpus(device), options.per_gpu or 1
    models = {torch.cuda.get_device_name(gpu) for gpu in there[:count]}
    if len(models) > 1 and latency_device is None:
        names = " and ".join(sorted(models))
        raise InputError(
            f"the workers' GPUs must be of one model, but there are {names}; "
            "give one --device, or the --latency-device that times all networks"
        )
    if count > each * len(there):
        raise InputError(
            f"--workers {count} are too many for {len(there)} GPU{'s' * (len(there) > 1)} with "
            f"{each} on each; give --per-gpu {-(-count // len(there))}, or fewer workers"
        )
    return [there[index % len(there)] for index in range(count)]


def flat(config: StudyConfig) -> dict[str, Any]:
    """All keys of `config` that are set, flat ("train.steps") as for load_config."""
    keys: dict[str, Any] = {}
    for key, value in config.to_dict().items():
        if isinstance(value, dict):
            keys |= {f"{key}.{name}": one for name, one in value.items() if one is not None}
        elif key != "name" and value is not None:
            keys[key] = value
    return keys
