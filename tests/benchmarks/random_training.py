"""Random genomes of the space, a short training each by the default recipe: none may diverge.

    python tests/benchmarks/random_training.py --genomes 40 --steps 150

Prints each genome's PSNR on the held-out synthetic pairs beside that of amplifying alone; exits 1
if one diverged or ended below it.
"""

import argparse
import math
import random
import sys
import time
from dataclasses import replace

import torch

from space import DesignSpace, build_model, count_cost
from trials import DataConfig, TrainConfig, amplified_psnr_db, load_data, score_images, train
from trials.scoring.images import mean_scores


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--genomes", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the genome to start with")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data = load_data(DataConfig(), device="cpu")
    baseline = amplified_psnr_db(data.held_out)
    space, generator = DesignSpace(), random.Random(args.seed)
    print(
        f"amplifying alone: {baseline:.2f} dB; recipe: {replace(TrainConfig(), steps=args.steps)}",
        flush=True,
    )
    failed, scores, started = 0, [], time.perf_counter()
    for number in range(args.genomes):
        genome = space.decode(space.sample(generator))
        if number < args.first:
            continue
        torch.manual_seed(args.seed)
        model = build_model(genome)
        log = train(model, data, replace(TrainConfig(), steps=args.steps), seed=args.seed)
        psnr_db = math.nan
        if not log.diverged:
            psnr_db, _ = mean_scores(score_images(model, data.held_out))
        bad = log.diverged or not psnr_db > baseline
        failed += bad
        scores.append(psnr_db)
        gmacs = count_cost(genome, 512, 512).macs / 1e9
        verdict = "DIVERGED" if log.diverged else "BELOW AMPLIFYING" if bad else ""
        print(
            f"{number:3d} {genome.digest} {gmacs:7.3f} GMAC {psnr_db:6.2f} dB "
            f"{log.seconds:6.1f} s  {verdict}",
            flush=True,
        )
    print(
        f"{failed} of {len(scores)} diverged or ended below amplifying; "
        f"PSNR {min(scores):.2f} to {max(scores):.2f} dB; "
        f"{time.perf_counter() - started:.0f} s on {args.threads} threads"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
