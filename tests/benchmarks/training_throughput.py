"""Training steps per second of a trial, against a plain loop, block by block in one run.

    python tests/benchmarks/training_throughput.py --networks MO M1 --json throughput.json

The plain loop is what many published trainings do: a DataLoader with worker processes makes the
crops (here of decoded scenes in memory, with noise: a loader that opens raw files is slower still,
see loader_speed.py), the network runs eagerly in float32, and the optimiser walks parameter by
parameter, with Adam. Ours is the step of trials.training.trainer, timed with Adam for all
parameters too, which tells what Muon costs; on a GPU, where a CUDA graph replays it, it is timed
without one too. All have the same scenes, batch, crop, threads and device; blocks take
turns. The machine's load is stored with the figures: on a busy one they mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from space import BASELINES, build_model
from trials import DataConfig, TrainConfig, TrialData, load_data
from trials.device.precision import settled_dtype, training_dtype
from trials.training.optimizer_step import restoration_loss
from trials.training.trainer import Trainer

BLOCK_STEPS = 8


class Crops(IterableDataset[tuple[Tensor, Tensor]]):
    """One crop after the other, without end."""

    def __init__(self, data: TrialData, crop: int) -> None:
        self.data, self.crop = data, crop

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = torch.utils.data.get_worker_info()
        generator = torch.Generator().manual_seed(worker.id if worker else 0)
        while True:
            mosaic, target = self.data.sample(1, self.crop, generator)
            yield mosaic[0], target[0]


def plain_step(
    name: str, data: TrialData, config: TrainConfig, device: torch.device, workers: int
) -> Callable[[], Any]:
    """A step of the plain loop."""
    model = build_model(BASELINES[name]).to(device).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate = config.learning_rate
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99), foreach=False)
    average = [parameter.detach().clone() for parameter in parameters]
    crops = Crops(data, config.crop)
    batches = iter(DataLoader(crops, batch_size=config.batch, num_workers=workers))

    def step() -> None:
        mosaic, target = (tensor.to(device) for tensor in next(batches))
        loss = restoration_loss(model(mosaic), target, config)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, config.grad_clip)
        optimiser.step()
        with torch.no_grad():
            detached = [parameter.detach() for parameter in parameters]
            torch._foreach_lerp_(average, detached, 1 - config.ema_decay)

    return step


def our_step(
    name: str, data: TrialData, config: TrainConfig, device: torch.device, *, graph: bool = True
) -> Callable[[], Any]:
    """A step of trials.training.trainer."""
    precision = training_dtype(config.dtype, device)
    model = build_model(BASELINES[name])
    trainer = Trainer(model, config, device, precision=precision, graph=graph)
    generator = torch.Generator(device).manual_seed(0)
    done = 0

    def step() -> None:
        nonlocal done
        trainer.step(done, *data.sample(config.batch, config.crop, generator))
        done += 1

    return step


def over_blocks(times: list[float], others: list[float]) -> tuple[float, float, float]:
    """The ratio of `times` to `others`, block by block: median, and all but a tenth each side."""
    ratios = sorted(one / other for one, other in zip(times, others, strict=True))
    tenth = len(ratios) // 10
    return statistics.median(ratios), ratios[tenth], ratios[-1 - tenth]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", nargs="+", default=["MO"], choices=list(BASELINES))
    parser.add_argument("--rounds", type=int, default=12, help="blocks of each loop")
    parser.add_argument("--workers", type=int, default=2, help="of the plain loop's loader")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device = torch.device(args.device)
    config = TrainConfig()
    in_memory = load_data(DataConfig(scenes=48), device="cpu")
    on_device = load_data(DataConfig(scenes=48), device=args.device)
    results: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": args.device,
        "batch": config.batch,
        "crop": config.crop,
        "dtype": settled_dtype(config.dtype, device),
        "workers": args.workers,
        "load_before": os.getloadavg(),
        "networks": {},
    }
    for name in args.networks:
        loops = {
            "plain": plain_step(name, in_memory, config, device, args.workers),
            "ours": our_step(name, on_device, config, device),
            "adam": our_step(name, on_device, replace(config, optimizer="adam"), device),
        }
        if device.type == "cuda":
            loops["eager"] = our_step(name, on_device, config, device, graph=False)
        times: dict[str, list[float]] = {loop: [] for loop in loops}
        for block in range(args.rounds + 1):
            for loop, step in loops.items():
                started = time.perf_counter()
                for _ in range(BLOCK_STEPS):
                    step()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if block:  # the first warms up
                    times[loop].append((time.perf_counter() - started) / BLOCK_STEPS)
        median, low, high = over_blocks(times["plain"], times["ours"])
        figures = {
            "plain_ms": 1000 * statistics.median(times["plain"]),
            "ours_ms": 1000 * statistics.median(times["ours"]),
            "times_as_fast": median,
            "low": low,
            "high": high,
        }
        names = ("median", "low", "high")
        muon = dict(zip(names, over_blocks(times["ours"], times["adam"]), strict=True))
        figures["of_adam"] = muon
        print(
            f"{name}: plain {figures['plain_ms']:.0f} ms a step, ours {figures['ours_ms']:.0f} ms "
            f"({results['dtype']}), {figures['times_as_fast']:.2f} times as fast "
            f"({figures['low']:.2f} to {figures['high']:.2f} over blocks), "
            f"{muon['median']:.2f} ({muon['low']:.2f} to {muon['high']:.2f}) of Adam's time",
            flush=True,
        )
        if "eager" in times:
            figures["ours_without_graph_ms"] = 1000 * statistics.median(times["eager"])
            eager_ms = figures["ours_without_graph_ms"]
            print(f"{name}: ours without a CUDA graph {eager_ms:.0f} ms", flush=True)
        results["networks"][name] = figures
    results["load_after"] = os.getloadavg()
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
