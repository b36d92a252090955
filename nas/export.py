"""`python -m nas.export`: winners of a study as folders that stand alone.

Each holds model.json (what it is and how it is fed), weights.safetensors, model.onnx, and a model
card (README.md) with its pictures. What was written is read back and checked: onnxruntime against
torch, the weights, and PSNR again on two of the study's held-out pairs.
"""

from __future__ import annotations

import math
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from nas import cli
from nas.outputs.exporter import ReadBack, export, load_check
from nas.outputs.trained_model import Trained, of_training, of_trial
from nas.study import selection
from nas.study.reader import open_to_read, study_name
from nas.study.records import Row, read_rows
from space import InputError
from space.files.export_format import check_place

if TYPE_CHECKING:
    import optuna

EXAMPLE = "python -m nas.export --study dark --front --out exports"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.export", description=__doc__, example=EXAMPLE)
    study = "a study by name (dark), or the path of its TOML file"
    parser.add_argument("--study", required=True, help=study)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--trial", type=int, metavar="N", help="this trial")
    front = "every trial on the Pareto front, each in OUT/trial-NNNN"
    which.add_argument("--front", action="store_true", help=front)
    fastest = "the fastest trial of at least this PSNR"
    which.add_argument("--fastest-above-db", type=_number, metavar="DB", help=fastest)
    best = "the trial of the highest PSNR within this latency"
    which.add_argument("--best-under-ms", type=_number, metavar="MS", help=best)
    out = "the folder to make (with --front: the folder of the folders)"
    parser.add_argument("--out", type=Path, required=True, help=out)
    weights = "of a longer training of the network (nas.retrain's --out), instead of the trial's"
    parser.add_argument("--weights", type=Path, metavar="FOLDER", help=weights)
    parser.add_argument("--force", action="store_true", help="replace an export that is there")
    cli.add_storage_arguments(parser)
    parser.add_argument("--data", help="the study's pairs, where they have moved since")
    args = parser.parse_args(argv)
    if args.front and args.weights:
        raise InputError(
            "--weights are one network's, but --front exports several; give --trial N"
        )
    return args


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    study = open_to_read(args.study, storage=args.storage, runs=args.runs)
    rows = choose(args, study)
    places = [args.out / f"trial-{row.number:04d}" if args.front else args.out for row in rows]
    for place in places:
        check_place(place, force=args.force)
    from nas.outputs.onnx import require_onnx

    require_onnx()
    folder = args.runs / study_name(args.study)
    networks = [
        of_training(row, args.weights) if args.weights else of_trial(row, study, folder)
        for row in rows
    ]
    console = cli.make_console()
    check = load_check(networks[0], args.data, folder / "cache")  # of one study: the same for all
    for row, trained, place in zip(rows, networks, places, strict=True):
        try:
            read_back = export(row, trained, study, place, check, force=args.force)
        except InputError as error:
            raise InputError(f"trial {row.number} ({row.name}): {error}") from error
        _print_export(console, row, trained, place, read_back)
    example = f'space.load_model("{escape(str(places[0]))}")'
    console.print(f"in Python: {example}; README.md is its model card", soft_wrap=True)
    return 0


def choose(args: Namespace, study: optuna.Study) -> list[Row]:
    """The rows that the flags mean; InputError where there are none."""
    rows = read_rows(study)
    if args.trial is not None:
        return [selection.by_number(rows, args.trial)]
    if args.fastest_above_db is not None:
        return [selection.fastest_above(rows, args.fastest_above_db)]
    if args.best_under_ms is not None:
        return [selection.best_under(rows, args.best_under_ms)]
    return selection.front(rows, study.user_attrs.get("config", {}).get("latency_limit_ms"))


def _print_export(
    console: Console, row: Row, trained: Trained, place: Path, read_back: ReadBack
) -> None:
    ratio = "" if row.ratio_to_mo is None else f", {row.ratio_to_mo:.2f} x MO"
    scores = ", ".join(f"{name} {psnr_db:.2f} dB" for name, psnr_db in read_back.psnr_db.items())
    console.print(
        f"[bold]{escape(str(place))}[/]  trial {row.number} ({row.name}): "
        f"{trained.psnr_db:.2f} dB, {row.latency_ms:.2f} ms{ratio}\n"
        f"  read back: onnxruntime is within {max(read_back.onnx.values()):.1g} of torch at "
        f"{', '.join(read_back.onnx)}; {escape(scores)}, as reported",
        soft_wrap=True,
    )


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ArgumentTypeError(f"must be a number, but got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(cli.run(main))
