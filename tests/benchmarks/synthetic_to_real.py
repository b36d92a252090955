"""MO trained on synthetic data alone, judged on real night photos.

    python tests/benchmarks/synthetic_to_real.py ../shared/sid-sample

The default recipe with more steps: 2,400, or as many as fit in the time limit on a slower machine. Real photos are
read only after the training has ended: they neither train the network nor choose a checkpoint. Exits with 1
below the wanted PSNR.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from space import SEEDS, InputError, build_model
from trials import DataConfig, TrainConfig, TrialData, evaluate, load_data, load_pairs, train

# Steps timed to see how many fit, and how many of the first ones don't count.
PROBE_STEPS, WARM_UP_STEPS = 20, 5
# Part of the time limit planned for training; the rest is for scenes, the probe and a machine that slows down.
PLANNED_SHARE = 0.8


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of real pairs in SID's layout; all of its lists are judged")
    parser.add_argument("--steps", type=int, default=2400, help="most training steps (default: %(default)s)")
    parser.add_argument("--limit-min", type=float, default=5.0, help="wall-clock limit (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wanted-db", type=float, default=28.5, help="mean PSNR that must be reached")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.perf_counter()

    def seconds() -> float:
        return time.perf_counter() - started

    def progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        if done % 100 == 0 or done == total:
            words = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
            print(f"{seconds():6.1f} s  {phase} {done}/{total}  {words}", flush=True)

    data = load_data(DataConfig(seed=options.seed), device="cpu", on_progress=progress)
    step_s = probe(data)
    fitting = int((options.limit_min * 60 * PLANNED_SHARE - seconds()) / step_s)
    steps = max(1, min(options.steps, fitting))
    print(f"{seconds():6.1f} s  {1000 * step_s:.0f} ms per step, {steps} steps")
    torch.manual_seed(options.seed)
    model = build_model(SEEDS["MO"])
    log = train(model, data, replace(TrainConfig(), steps=steps), seed=options.seed, on_progress=progress)
    trained_s = seconds()
    with tempfile.TemporaryDirectory() as cache:
        pairs = load_pairs(options.data, "all", cache_dir=Path(cache))
        scores = evaluate(model, pairs)
    for score in scores:
        print(f"{score.name:20}  {score.psnr_db:6.2f} dB  SSIM {score.ssim:.3f}")
    mean_db = sum(score.psnr_db for score in scores) / len(scores)
    in_time = trained_s <= options.limit_min * 60
    print(f"{len(scores)} real photos, float images: mean {mean_db:.2f} dB after {log.steps} steps, {trained_s:.0f} s"
          f" on {options.threads} threads (wanted: {options.wanted_db} dB in {options.limit_min:g} min)")  # fmt: skip
    return 0 if mean_db >= options.wanted_db and in_time and not log.diverged else 1


def probe(data: TrialData) -> float:
    """Seconds per training step, from a few steps of a network that is thrown away."""
    model = build_model(SEEDS["MO"])
    train(model, data, replace(TrainConfig(), steps=WARM_UP_STEPS), seed=0)
    return train(model, data, replace(TrainConfig(), steps=PROBE_STEPS), seed=0).seconds / PROBE_STEPS


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
