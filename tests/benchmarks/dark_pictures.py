"""Real dark crops side by side: amplified, restored by some networks, and the ground truth.

    python tests/benchmarks/dark_pictures.py --out runs/long --steps 1500 --networks MO F2
        --real SID --picture FILE.jpg

The networks are trainings of dark_study.py (seed 0). The rows are not picked by eye: of all crops
those where the last network gains most on the first, where it gains the median, and least.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas.cli.networks import load_network
from space import restore
from trials import load_pairs, score_images
from trials.scoring.baseline import amplified_only, amplified_psnr_db

SIDE, CAPTION, GAP = 240, 22, 6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the trainings' folder")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--networks", nargs="+", required=True)
    parser.add_argument("--real", required=True)
    parser.add_argument("--picture", type=Path, required=True)
    args = parser.parse_args()
    pairs = load_pairs(args.real, "all", cache_dir=args.out / "cache")
    models = {
        name: load_network(str(args.out / f"{name}-{args.steps}-0"), None).model
        for name in args.networks
    }
    scores = {
        name: [score.psnr_db for score in score_images(model, pairs)]
        for name, model in models.items()
    }
    gains = np.array(scores[args.networks[-1]]) - np.array(scores[args.networks[0]])
    order = np.argsort(-gains)
    rows = []
    for index in (order[0], order[len(order) // 2], order[-1]):
        pair = pairs[index]
        panels = [
            panel(amplified_only(pair.mosaic), f"amplified, {amplified_psnr_db([pair]):.2f} dB")
        ]
        with torch.no_grad():
            panels += [
                panel(restore(model, pair.mosaic), f"{name}, {scores[name][index]:.2f} dB")
                for name, model in models.items()
            ]
        rows.append(np.hstack([*panels, panel(pair.target, "ground truth")]))
        print(pair.name, {name: round(each[index], 2) for name, each in scores.items()})
    cv2.imwrite(str(args.picture), np.vstack(rows)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    return 0


def panel(picture: Tensor, title: str) -> NDArray[np.uint8]:
    """The picture's middle under its title; h w 3, RGB."""
    top, left = ((size - SIDE) // 2 for size in picture.shape[-2:])
    middle = picture[0, :, top : top + SIDE, left : left + SIDE].float().clamp(0, 1)
    shown = np.full((CAPTION + SIDE + GAP, SIDE + GAP, 3), 255, dtype=np.uint8)
    shown[CAPTION : CAPTION + SIDE, :SIDE] = (middle * 255).round().byte().permute(1, 2, 0).numpy()
    cv2.putText(
        shown,
        title,
        (2, CAPTION - 7),
        cv2.FONT_HERSHEY_SIMPLEX,
        0.45,
        (30, 30, 30),
        1,
        cv2.LINE_AA,
    )
    return shown


if __name__ == "__main__":
    sys.exit(main())
