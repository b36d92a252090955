"""MO trained on synthetic data alone, scored on real night photos.

    python tests/benchmarks/synthetic_to_real.py ../shared/sid-sample

The default recipe with more steps: 2,400, or as many as fit in the time limit on a slower machine.
Real photos are read only after the training has ended: they neither train the network nor choose a
checkpoint. Exits with 1 below the wanted PSNR.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from space import BASELINES, DarkUNet, InputError, build_model
from trials import (
    DataConfig,
    Progress,
    TrainConfig,
    TrainLog,
    TrialData,
    load_data,
    load_pairs,
    score_images,
    train,
)
from trials.scoring.images import mean_scores

# The pace is estimated after so long, by the steps since the first ones.
ESTIMATED_AFTER_S = 15.0
# Share of the time limit that is planned for; the rest is for a machine that slows down.
PLANNED_SHARE = 0.85


class TooSlowError(Exception):
    """The requested steps don't fit; one takes `step_s` seconds."""

    def __init__(self, step_s: float) -> None:
        super().__init__(step_s)
        self.step_s = step_s


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "data", type=Path, help="folder of real pairs in SID's layout; all lists are scored"
    )
    parser.add_argument(
        "--steps", type=int, default=2400, help="most training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--limit-min", type=float, default=5.0, help="wall-clock limit (default: %(default)s)"
    )
    parser.add_argument(
        "--threads", type=int, default=2, help="CPU threads (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--wanted-db", type=float, default=28.5, help="mean PSNR that must be reached"
    )
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
    left_s = options.limit_min * 60 * PLANNED_SHARE - seconds()
    try:
        model, log = train_mo(data, options.steps, options.seed, progress, left_s)
    except TooSlowError as slow:
        steps = max(1, int((options.limit_min * 60 * PLANNED_SHARE - seconds()) / slow.step_s))
        print(
            f"{seconds():6.1f} s  {1000 * slow.step_s:.0f} ms per step: again with {steps} steps",
            flush=True,
        )
        model, log = train_mo(data, steps, options.seed, progress, None)
    trained_s = seconds()
    with tempfile.TemporaryDirectory() as cache:
        pairs = load_pairs(options.data, "all", cache_dir=Path(cache))
        scores = score_images(model, pairs)
    for score in scores:
        print(f"{score.name:20}  {score.psnr_db:6.2f} dB  SSIM {score.ssim:.3f}")
    mean_db, _ = mean_scores(scores)
    in_time = trained_s <= options.limit_min * 60
    print(
        f"{len(scores)} real photos, float images: mean {mean_db:.2f} dB after {log.steps} steps, "
        f"{trained_s:.0f} s on {options.threads} threads (wanted: {options.wanted_db} dB in "
        f"{options.limit_min:g} min)"
    )
    return 0 if mean_db >= options.wanted_db and in_time and not log.diverged else 1


def train_mo(
    data: TrialData, steps: int, seed: int, progress: Progress, left_s: float | None
) -> tuple[DarkUNet, TrainLog]:
    """MO trained for `steps` steps. Raises TooSlowError early where that takes over `left_s`."""
    torch.manual_seed(seed)
    model = build_model(BASELINES["MO"])
    started = time.perf_counter()
    first: list[tuple[int, float]] = []
    estimated = left_s is None

    def watch(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
        nonlocal estimated
        progress(phase, done, total, figures)
        now = time.perf_counter() - started
        if not first:
            first.append((done, now))
        elif not estimated and now >= ESTIMATED_AFTER_S:
            estimated = True
            step_s = (now - first[0][1]) / (done - first[0][0])
            if left_s is not None and now + step_s * (total - done) > left_s:
                raise TooSlowError(step_s)

    return model, train(
        model, data, replace(TrainConfig(), steps=steps), seed=seed, on_progress=watch
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
