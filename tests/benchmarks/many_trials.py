"""A study of thousands of trials, made by the search itself with quick figures in place of timing
and training.

    python tests/benchmarks/many_trials.py --trials 2000 --out /tmp/many
    python -m dashboards.report --study many --runs /tmp/many --out report.html

What the search, its sampler, its stopping rule, its storage, the notes and the artifacts do is
real; so are each network's cost and drawing. PSNR, latency, pictures, curves and weights are made
up: smooth in the genome, with noise. Prints what a trial costs the search after 100, 1,000 and all
trials, and where the time goes; exits 1 where notes and artifacts take more than 1 % of a trial of
30 s. NSGA-II reads all of a study's system attributes for each proposal, the notes among them:
that is counted too.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import optuna
import torch
from safetensors.torch import save_file

from nas import search
from nas.loop import objective, search_loop
from space import BASELINES, Genome, count_cost
from trials import Latency, LatencyRatio, TrialResult
from trials.data.scenes import draw_scene
from trials.preview import TITLES, _panel
from trials.training.loop import ImageScore
from trials.training.rungs import Decide, RungScore, rung_steps

STEPS, PAIRS, SIDE, LONG_S = 450, 12, 96, 30.0
TOML = "[latency]\nthreads = 1\n"


def made_up(genome: Genome, macs: int) -> tuple[float, float]:
    """(psnr_db, ratio_to_mo): more work and more scales are better and slower, each with less and
    less to gain.
    """
    work = macs / 1.29e9
    depth = (
        2
        + genome.skip_blocks
        + sum(branch.blocks * (branch.layers or 2) for branch in genome.branches)
    )
    ratio = 0.12 + 0.62 * work**0.85 + 0.012 * depth
    scales = len({branch.scale for branch in genome.branches})
    psnr_db = (
        20.0
        + 4.2 * (1 - math.exp(-0.9 * work**0.5))
        + 0.5 * scales**0.5
        + 0.3 * (genome.head == "concat")
    )
    return psnr_db - 0.4 * (genome.expand_kernel == 1) + 0.15 * (genome.fusion == "cascade"), ratio


def latency(median_ms: float) -> Latency:
    """A measurement of that median."""
    return Latency(
        median_ms=median_ms,
        low_ms=0.99 * median_ms,
        high_ms=1.01 * median_ms,
        p10_ms=0.97 * median_ms,
        p90_ms=1.06 * median_ms,
        p99_ms=1.2 * median_ms,
        runs=60,
        device_time=None,
        peak_memory_mib=30 + median_ms,
        steady=True,
        drift=0.004,
        tries=1,
        height=512,
        width=512,
        device="cpu",
        device_name="made up",
        dtype="float32",
        memory_format="channels_last",
        runtime="eager",
        streams=False,
        threads=1,
        huge_pages=True,
        keeps_memory=True,
        gpu=[],
        torch_version=torch.__version__,
    )


def timed_ratio(value: float, noise: random.Random) -> LatencyRatio:
    value *= 1 + noise.gauss(0, 0.006)
    return LatencyRatio(
        value=value,
        low=0.99 * value,
        high=1.01 * value,
        rounds=40,
        drift=abs(noise.gauss(0, 0.004)),
    )


class Runner:
    """Stands in for trials.run_trial: writes what a trial writes, in milliseconds."""

    def __init__(self, mo_ms: float) -> None:
        self.mo_ms = mo_ms
        self.scenes = [np.clip(draw_scene(SIDE, seed) / 4, 0, 1) ** (1 / 2.2) for seed in (1, 2)]

    def __call__(
        self,
        genome: Genome,
        config: Any,
        *,
        directory: Path,
        latency_limit_ms: float | None,
        decide: Decide,
        **_: Any,
    ) -> TrialResult:
        noise = random.Random(int(genome.digest, 16))
        (directory / "genome.json").write_text(genome.to_json(indent=1) + "\n")
        cost = count_cost(genome, 512, 512)
        psnr_db, ratio = made_up(genome, cost.macs)
        psnr_db += noise.gauss(0, 0.12)
        is_mo = genome == BASELINES["MO"]
        measured = (
            LatencyRatio(value=1.0, low=1.0, high=1.0, rounds=0, drift=0.0)
            if is_mo
            else timed_ratio(ratio, noise)
        )
        found = {
            "genome": genome,
            "cost": cost,
            "latency": latency(self.mo_ms * measured.value),
            "ratio_to_mo": measured,
        }
        if latency_limit_ms is not None and self.mo_ms * measured.value > latency_limit_ms:
            limit = f"the limit of {latency_limit_ms:g} ms"
            message = f"{self.mo_ms * measured.value:.2f} ms is over {limit}: not trained"
            return TrialResult(kind="over_limit", message=message, **found)
        if noise.random() < 0.01:
            message = "the loss ran away or was no number at step 60"
            return TrialResult(kind="diverged", message=message, train_seconds=4.0, **found)
        scores, stopped = self.rungs(psnr_db, self.mo_ms * measured.value, noise, decide)
        steps, psnr_db, seconds = scores[-1].step, scores[-1].psnr_db, scores[-1].seconds
        self.leave(directory, genome, psnr_db, steps, seconds, noise)
        apart = [noise.gauss(0, 2.5) for _ in range(PAIRS)]
        images = [
            ImageScore(
                name=f"scene_{n:02d}",
                psnr_db=psnr_db + one - sum(apart) / PAIRS,
                ssim=min(0.95, max(0.1, 0.7 + one / 20)),
            )
            for n, one in enumerate(apart)
        ]
        why = f"stopped at step {steps} of {STEPS}: not among the best third there"
        return TrialResult(
            kind="stopped" if stopped else "complete",
            psnr_db=psnr_db,
            ssim=sum(i.ssim for i in images) / PAIRS,
            images=images,
            rungs=scores,
            train_seconds=seconds,
            message=why if stopped else "",
            **found,
        )

    def rungs(
        self, psnr_db: float, latency_ms: float, noise: random.Random, decide: Decide
    ) -> tuple[list[RungScore], bool]:
        """The trial's rungs until the search stops it, and whether it did."""
        scores: list[RungScore] = []
        for step in rung_steps(STEPS):
            here = 18.0 + (psnr_db - 18.0) * (step / STEPS) ** 0.25
            here += 0 if step == STEPS else noise.gauss(0, 0.15)
            scores.append(
                RungScore(
                    step=step,
                    psnr_db=here,
                    ssim=0.2 + 0.02 * here,
                    loss=0.3 * step**-0.35,
                    seconds=0.07 * step,
                    latency_ms=latency_ms,
                )
            )
            if step < STEPS and not decide(scores[-1]):
                return scores, True
        return scores, False

    def leave(
        self,
        directory: Path,
        genome: Genome,
        psnr_db: float,
        steps: int,
        seconds: float,
        noise: random.Random,
    ) -> None:
        with (directory / "curve.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss", "lr", "seconds"])
            for step in range(10, steps + 1, 10):
                loss = 0.35 * step**-0.35 * math.exp(noise.gauss(0, 0.06))
                writer.writerow([float(step), loss, 2e-3, seconds * step / steps])
        grain = np.random.default_rng(noise.randrange(2**32))
        rows = []
        for truth in self.scenes:
            dark = truth + grain.normal(0, 0.2, truth.shape)
            restored = cv2.GaussianBlur(dark, (0, 0), max(0.3, 1.5 - (psnr_db - 20) / 4))
            pictures = (
                torch.from_numpy(np.float32(p)).permute(2, 0, 1)[None]
                for p in (dark, restored, truth)
            )
            panels = zip(pictures, TITLES, strict=True)
            rows.append(np.hstack([_panel(picture, title) for picture, title in panels]))
        cv2.imwrite(str(directory / "preview.png"), np.vstack(rows)[:, :, ::-1])
        save_file(
            {"made_up": torch.rand(500)},
            directory / "weights.safetensors",
            metadata={"genome": genome.to_json()},
        )


class Clock:
    """Seconds spent in wrapped functions, with the number of the trial that they were spent on."""

    def __init__(self) -> None:
        self.trials = 0
        self.spent: dict[str, list[tuple[int, float]]] = defaultdict(list)

    def wrap(self, owner: Any, name: str, label: str, *, ends_trial: bool = False) -> None:
        inner: Callable[..., Any] = getattr(owner, name)
        self.spent[label] = []

        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.spent[label].append((self.trials, time.perf_counter() - started))
                self.trials += ends_trial

        setattr(owner, name, timed)

    def mean_ms(self, label: str, end: int) -> float:
        """Milliseconds a trial, the mean of the fifty before trial `end`."""
        first = max(0, end - 50)
        spent_s = sum(seconds for number, seconds in self.spent[label] if first <= number < end)
        return 1000 * spent_s / (end - first)

    def table(self, ends: list[int]) -> str:
        lines = [
            f"{'ms a trial, mean of 50':<34}" + "".join(f"{f'at {end:,}':>12}" for end in ends)
        ]
        lines += [
            f"{label:<34}" + "".join(f"{self.mean_ms(label, end):>12.1f}" for end in ends)
            for label in self.spent
        ]
        return "\n".join(lines)


def loaded(config: Any, **_: Any) -> Any:
    """Stands in for trials.load_data."""
    generator = torch.Generator().manual_seed(0)
    pair = SimpleNamespace(
        name="scene_00",
        mosaic=torch.rand(1, 1, 64, 64, generator=generator),
        target=torch.rand(1, 3, 64, 64, generator=generator),
    )
    return SimpleNamespace(
        held_out=[pair], description={"kind": "synthetic", "camera": "made up", "digest": "0" * 16}
    )


def measured_again(mo_ms: float) -> Callable[..., Any]:
    """Stands in for trials.measure_all."""

    def measure(reference: Any, models: list[Any], config: Any, **_: Any) -> Any:
        noise, found = random.Random(1), []
        for model in models:
            macs = count_cost(model.genome, 512, 512).macs
            ratio = timed_ratio(made_up(model.genome, macs)[1], noise)
            again = latency(mo_ms * ratio.value)
            found.append(SimpleNamespace(latency=again, ratio=ratio, device_ratio=None))
        return latency(mo_ms), found

    return measure


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument(
        "--out", type=Path, required=True, help="the runs folder to make; the study is OUT/many"
    )
    parser.add_argument("--sampler", default="nsga2")
    parser.add_argument(
        "--stopping",
        default="on",
        help="on, or off: then every trial is a point of the front's picture",
    )
    parser.add_argument("--latency-limit-ms", type=float, default=100.0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    toml = args.out / "many.toml"
    toml.write_text(TOML)
    torch.set_num_threads(1)
    clock = Clock()
    clock.wrap(optuna.Study, "ask", "ask")
    clock.wrap(search_loop.Search, "_one", "whole trial", ends_trial=True)
    clock.wrap(objective.Objective, "propose", "propose (one write a gene)")
    clock.wrap(objective, "leave", "artifacts")
    clock.wrap(objective, "note_trial", "note")
    clock.wrap(
        optuna.storages.RDBStorage, "get_study_system_attrs", "all notes read by the sampler"
    )
    clock.wrap(optuna.Study, "tell", "tell")
    clock.wrap(Runner, "__call__", "stand-in for timing and training")
    flags = {
        "--study": toml,
        "--runs": args.out,
        "--trials": args.trials,
        "--device": "cpu",
        "--sampler": args.sampler,
        "--steps": STEPS,
        "--latency-limit-ms": args.latency_limit_ms,
        "--stopping": args.stopping,
    }
    started, printed = time.perf_counter(), io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = search.main(
            [str(word) for flag in flags.items() for word in flag],
            runner=Runner(30.6),
            load=loaded,
            measure=measured_again(30.6),
        )
    took = time.perf_counter() - started
    clock.trials -= 1  # the last was none: it found the budget spent
    (args.out / "search.log").write_text(printed.getvalue())
    if status or clock.trials < 1:
        print(printed.getvalue()[-2000:])
        return 1
    print(
        f"{clock.trials:,} trials in {took:.0f} s, {1000 * took / clock.trials:.0f} ms a "
        f"trial; the study: {args.out / 'many'}"
    )
    print(clock.table(sorted({end for end in (100, 1000) if end < clock.trials} | {clock.trials})))
    extra_ms = sum(
        clock.mean_ms(label, clock.trials)
        for label in ("artifacts", "note", "all notes read by the sampler")
    )
    print(
        f"notes and artifacts: {extra_ms:.1f} ms a trial at the end, "
        f"{extra_ms / 10 / LONG_S:.2f} % of one of {LONG_S:g} s"
    )
    return int(extra_ms > 10 * LONG_S)


if __name__ == "__main__":
    sys.exit(main())
