"""Quick stand-ins for data and training, so that the study's behaviour is tested in seconds."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from space import BASELINES, Genome, count_cost
from trials import LatencyRatio, RungScore

Command = Callable[..., int]


def figures(genome: Genome) -> tuple[float, float]:
    """(psnr_db, latency_ms) that vary smoothly with the genome, MO at 24 ms."""
    work = sum(
        branch.blocks * (branch.growth or 16) / 16 + branch.width / 32
        for branch in genome.branches
    )
    latency = 4.0 + 2.0 * work + genome.skip_width * (1 + genome.skip_blocks) / 40
    return 24.0 + 4.0 * (1 - 2 ** (-latency / 15)) + genome.skip_width / 100, latency


@dataclass
class Result:
    """The shape of trials.TrialResult."""

    kind: str
    genome: Genome
    psnr_db: float | None
    ssim: float | None
    latency_ms: float | None
    message: str = ""
    rungs: list[RungScore] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        macs = int(1e9 * (self.latency_ms or 0) / 30)
        latency = {
            "median_ms": self.latency_ms,
            "p10_ms": self.latency_ms,
            "height": 512,
            "device": "cpu",
        }
        return {
            "kind": self.kind,
            "psnr_db": self.psnr_db,
            "ssim": self.ssim,
            "images": []
            if self.psnr_db is None
            else [{"name": "a", "psnr_db": self.psnr_db, "ssim": self.ssim}],
            "latency": latency if self.latency_ms is not None else None,
            "ratio_to_mo": None
            if self.latency_ms is None
            else {
                "value": self.latency_ms / mo_latency_ms(),
                "low": 0.9 * self.latency_ms / mo_latency_ms(),
                "high": 1.1 * self.latency_ms / mo_latency_ms(),
                "rounds": 9,
                "drift": 0.001,
            },
            "cost": {"parameters": 1000 * len(self.genome.branches) + 77, "macs": macs},
            "rungs": [asdict(rung) for rung in self.rungs],
            "train_seconds": 0.01,
            "message": self.message,
        }


@dataclass
class Runner:
    """Stands in for trials.run_trial; `script` gives the kind (or an exception) of the n-th call,
    "complete" after. At each of `rungs` PSNR is the final one less 1 dB for each rung to come.
    """

    script: list[str | BaseException] = field(default_factory=list)
    seconds: float = 0.0
    steps: int = 20
    rungs: tuple[int, ...] = ()
    calls: list[Genome] = field(default_factory=list)
    directories: list[Path] = field(default_factory=list)
    rough: list[bool] = field(default_factory=list)

    def __call__(
        self,
        genome: Genome,
        config: Any,
        *,
        data: Any,
        directory: Path,
        latency_limit_ms: float | None,
        mo_latency_ms: float | None,
        decide: Any = None,
        checkpointer: Any = None,
        timed: Any = None,
        rough_first: bool = False,
        on_progress: Any,
    ) -> Result:
        self.calls.append(genome)
        self.directories.append(directory)
        self.rough.append(rough_first)
        kind = ([*self.script, *["complete"] * len(self.calls)])[len(self.calls) - 1]
        psnr_db, latency_ms = figures(genome)
        (directory / "genome.json").write_text(genome.to_json())
        if latency_limit_ms is not None and latency_ms > latency_limit_ms:
            message = f"{latency_ms:.1f} ms is over the limit"
            return Result("over_limit", genome, None, None, latency_ms, message)
        on_progress("latency", 0, 1, {})
        identity = {"digest": genome.digest}
        begun = ((checkpointer.load(identity) or {}) if checkpointer else {}).get("step", 0)
        on_progress("resume", begun, self.steps, {"seconds": begun * self.seconds / self.steps})
        for step in range(begun + 1, self.steps + 1):
            time.sleep(self.seconds / self.steps)
            on_progress(
                "train",
                step,
                self.steps,
                {"loss": 0.1 / step, "seconds": step * self.seconds / self.steps},
            )
            if checkpointer and step < self.steps:
                checkpointer.save(step, lambda step=step: {"step": step})
        scores: list[RungScore] = []
        for place, step in enumerate(self.rungs):
            left = len(self.rungs) - 1 - place
            scores.append(
                RungScore(
                    step=step,
                    psnr_db=psnr_db - left,
                    ssim=0.7,
                    loss=0.1,
                    seconds=step / 100,
                    latency_ms=latency_ms,
                )
            )
            if left and not decide(scores[-1]):
                message = f"stopped at step {step} of {self.rungs[-1]}"
                return Result(
                    "stopped", genome, scores[-1].psnr_db, 0.7, latency_ms, message, scores
                )
        if isinstance(kind, BaseException):
            raise kind
        if kind != "complete":
            timed_ms = latency_ms if kind == "diverged" else None
            return Result(kind, genome, None, None, timed_ms, f"it {kind}")
        (directory / "result.json").write_text(json.dumps({"psnr_db": psnr_db}))
        return Result("complete", genome, psnr_db, 0.7, latency_ms, rungs=scores)


@dataclass
class Measure:
    """Stands in for trials.measure_all: each ratio is `factor` times the runner's."""

    factor: float = 1.0
    fails: Callable[[int], BaseException | None] = lambda networks: None
    calls: list[int] = field(default_factory=list)

    def __call__(
        self, reference: Any, models: Any, config: Any, *, device: str, on_round: Any
    ) -> Any:
        self.calls.append(len(models))
        if (error := self.fails(len(models))) is not None:
            raise error
        on_round(1, 1, 0.5)
        return _latency(mo_latency_ms()), [self._one(model.genome) for model in models]

    def _one(self, genome: Genome) -> Any:
        ms = figures(genome)[1]
        value = self.factor * ms / mo_latency_ms()
        ratio = LatencyRatio(
            value=value, low=0.99 * value, high=1.01 * value, rounds=50, drift=0.001
        )
        return SimpleNamespace(latency=_latency(ms), ratio=ratio, device_ratio=None)


def _latency(ms: float) -> Any:
    return SimpleNamespace(
        to_dict=lambda: {"median_ms": ms, "steady": True, "height": 64, "width": 64}
    )


@dataclass
class Loader:
    """Stands in for trials.load_data: two held-out pairs of noise."""

    digest: str = "abc"
    calls: int = 0

    def __call__(
        self, config: Any, *, device: str, cache_dir: Path | None, on_progress: Any
    ) -> Any:
        import torch

        self.calls += 1
        on_progress("data", 1, 2, {})
        generator = torch.Generator().manual_seed(0)
        pair = SimpleNamespace(
            name="a",
            mosaic=torch.rand(1, 1, 16, 16, generator=generator),
            target=torch.rand(1, 3, 16, 16, generator=generator),
        )
        return SimpleNamespace(
            held_out=[pair, pair],
            description={"source": str(config.source), "digest": self.digest},
        )


def mo_latency_ms() -> float:
    return figures(BASELINES["MO"])[1]


def replaced(config: Any, **changes: Any) -> Any:
    """A frozen config with other values; "train.steps" is written train__steps."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        section, _, name = key.rpartition("__")
        nested.setdefault(section, {})[name] = value
    top = nested.pop("", {})
    for section, values in nested.items():
        top[section] = dataclasses.replace(getattr(config, section), **values)
    return dataclasses.replace(config, **top)


ROOT = Path(__file__).parents[2]


def start(words: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    # A shell's background job has Ctrl-C switched off, and its children inherit that.
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


PIXEL = b"\x89PNG some picture"


@dataclass
class Leaving(Runner):
    """A runner whose trials write the outputs of real ones."""

    def __call__(self, genome: Genome, config: Any, *, directory: Path, **more: Any) -> Result:
        result = super().__call__(genome, config, directory=directory, **more)
        if result.kind == "complete":
            (directory / "preview.png").write_bytes(PIXEL)
            (directory / "weights.safetensors").write_bytes(b"w" * 100_000)
            with (directory / "curve.csv").open("w", newline="") as file:
                csv.writer(file).writerows(
                    [
                        ["step", "loss", "lr", "seconds"],
                        *([10 * k, 1 / k, 1e-3, k] for k in range(1, 9)),
                    ]
                )
        return Costed(result)


class Costed(Result):
    """A result whose cost has its parts."""

    def __init__(self, result: Result) -> None:
        super().__init__(**vars(result))

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "cost": count_cost(self.genome, 64, 64).to_dict()}
