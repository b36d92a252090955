"""`python -m nas.evaluate`: PSNR and SSIM of a network on real raw pairs, picture by picture.

Protocol: float pictures in [0, 1], PSNR with peak 1 over all pixels and channels, SSIM with a 7 x 7 uniform window, and
the mean over the pictures.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeRemainingColumn
from rich.table import Table

from nas import command
from nas.config import resolve_device
from nas.models import load_network

SPLITS = ("test", "val", "train", "all")
PROTOCOL = "float pictures, PSNR with peak 1, SSIM 7 x 7 uniform, mean over the pictures"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = command.Parser(
        prog="python -m nas.evaluate", description=__doc__,
        example="python -m nas.evaluate --model MO --weights mo_checkpoint.pt --data SID --split test",
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="MO, M1, M2, a genome's JSON file, or a trial's folder")
    parser.add_argument("--weights", help="a published checkpoint or a weights.safetensors (default: the trial's own)")
    parser.add_argument("--data", required=True, help="a folder in SID's layout")
    parser.add_argument("--split", default="test", choices=SPLITS, help="which of its lists (default: test)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--json", type=Path, help="write the scores to this file too")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="decoded photos are kept in RUNS/cache")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    device = resolve_device(args.device)
    network = load_network(args.model, args.weights)
    from trials import evaluate, load_pairs

    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("decoding")

        def on_progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            bar.update(task, completed=done, total=total)

        pairs = load_pairs(
            args.data, args.split, white_balanced_input=network.white_balanced_input, device=device,
            cache_dir=args.runs / "cache", on_progress=on_progress,
        )  # fmt: skip
        bar.reset(task, description="restoring", total=len(pairs))
        model = network.model.to(device)
        scores = []
        for pair in pairs:
            scores += evaluate(model, [pair])
            bar.advance(task)
    psnr_db = sum(score.psnr_db for score in scores) / len(scores)
    ssim = sum(score.ssim for score in scores) / len(scores)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("picture")
    table.add_column("PSNR dB", justify="right")
    table.add_column("SSIM", justify="right")
    for score in scores:
        table.add_row(escape(score.name), f"{score.psnr_db:.2f}", f"{score.ssim:.4f}")
    table.add_row(f"mean of {len(scores)}", f"{psnr_db:.2f}", f"{ssim:.4f}", style="bold")
    console.print(f"{escape(args.model)} on {escape(args.data)}, split {args.split}: {PROTOCOL}")
    console.print(table)
    if args.json:
        result = {
            "model": args.model, "weights": args.weights, "data": args.data, "split": args.split, "protocol": PROTOCOL,
            "white_balanced_input": network.white_balanced_input, "digest": model.genome.digest, "psnr_db": psnr_db,
            "ssim": ssim, "images": [asdict(score) for score in scores],
        }  # fmt: skip
        args.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
