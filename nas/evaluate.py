"""`python -m nas.evaluate`: PSNR and SSIM of networks on pictures that they were not trained on.

The pictures are real raw pairs (--data DIR, by named protocols), fresh procedural scenes
(synthetic), photos that no recipe has seen (natural), or a colour chart (chart: how far each patch
lies from its colour, CIEDE2000). Several networks are compared on the same pictures: the table
gives each one's mean difference to the first (or to the one that --against names) with its 95 %
interval (paired bootstrap over the pictures, and over trainings where there are several). A
network is MO, M1, M2, a genome's JSON file or a folder with weights; trainings of one network with
other seeds stand behind commas; "amplified" is no network: amplifying and developing alone.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas import cli
from nas.study.config import resolve_device
from nas.view.evaluation.models import BASELINE, baseline, find_reference, load, parse_models
from nas.view.evaluation.pictures import (
    CHART,
    NATURAL,
    SIMULATED,
    SYNTHETIC,
    Bars,
    select_pictures,
)
from space import InputError
from trials.config import COLOURS

SPLITS = ("test", "val", "train", "all")
SCENES = 192
EXAMPLE = "python -m nas.evaluate --model MO --weights mo_checkpoint.pt --data SID --split test"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.evaluate", description=__doc__, example=EXAMPLE)
    add = parser.add_argument
    model = (
        "MO=mo_checkpoint.pt, GENOME.json=weights.safetensors, a trial's or an export's folder, "
        "or amplified; several are compared; MO=a.safetensors,b.safetensors are two trainings"
    )
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    add("--model", required=True, metavar="MODEL[=WEIGHTS]", help=model, **several)
    weights = "of a single --model: a published checkpoint or a weights.safetensors"
    add("--weights", help=weights)
    against = "what the others are compared with (default: the first)"
    add("--against", metavar="MODEL", help=against)
    data = "a folder in SID's layout, synthetic, natural, or chart"
    add("--data", required=True, help=data)
    seed = "synthetic only: which scenes; those of each seed are others"
    add("--seed", type=int, help=seed)
    scenes = f"synthetic only: how many scenes ({SCENES})"
    add("--scenes", type=int, help=scenes)
    colours = "synthetic only: natural, or grey as in earlier releases (natural)"
    add("--colours", choices=COLOURS, help=colours)
    picture = "chart only: a PNG of the chart as each network restores it"
    add("--picture", type=Path, metavar="FILE", help=picture)
    split = "which of its lists (default: test)"
    add("--split", choices=SPLITS, help=split)
    protocol = (
        "float (default), uint8 (truncated), uint8-rounded, sid50, all-ratios, gain-aligned, "
        "colour-aligned; several give a table each"
    )
    add("--protocol", metavar="NAME", help=protocol, **several)
    misaligned = "without SID's test scenes 10034, 10045 and 10172, whose truth is out of register"
    add("--leave-out-misaligned", action="store_true", help=misaligned)
    by_scene = "draw whole scenes for the intervals: right where scenes have several pictures"
    add("--by-scene", action="store_true", help=by_scene)
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    add("--csv", type=Path, help="write each picture's scores to this file")
    add("--json", type=Path, help="write everything to this file too")
    runs = "decoded photos are stored in RUNS/cache"
    add("--runs", type=Path, default=Path("runs"), help=runs)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    check_flags(args)
    arguments = parse_models(args.model, args.weights)
    reference = find_reference(arguments, args.against)
    for flag, path in (("--csv", args.csv), ("--json", args.json), ("--picture", args.picture)):
        check_writable(flag, path)
    simulated = args.data in (*SIMULATED, CHART)
    if simulated and not any(one.model == BASELINE for one in arguments):
        arguments = [*arguments, baseline()]  # what a network must beat
    device = resolve_device(args.device)
    loaded = [load(argument, device) for argument in arguments]
    if args.data == CHART:
        from nas.view.evaluation.chart import evaluate_chart

        return evaluate_chart(loaded, args, device)
    from nas.view.scores import Setting, collect, print_results, write_csv, write_json
    from trials.scoring import find_protocol, score_pictures

    protocols = [find_protocol(name) for name in dict.fromkeys(args.protocol or ["float"])]
    with Bars() as bars:
        pictures, left_out = select_pictures(args, protocols, bars.on_progress)
        restorers = [restorer for of_model, _ in loaded for restorer in of_model]
        scores = iter(
            score_pictures(
                restorers, pictures, protocols, device=device, on_progress=bars.on_progress
            )
        )
    by_model = [[next(scores) for _ in of_model] for of_model, _ in loaded]
    models = [model for _, model in loaded]
    setting = Setting(
        data=args.data,
        split=args.split or "",
        left_out=left_out,
        by_scene=args.by_scene or args.data == NATURAL,
        against=reference.label,
        seed=args.seed,
    )
    results = []
    for protocol in protocols:
        images = [[one[protocol.name] for one in trainings] for trainings in by_model]
        results += collect(protocol, models, images, setting)
    print_results(cli.make_console(), results, setting)
    if args.csv:
        write_csv(args.csv, results)
    if args.json:
        write_json(args.json, results, setting)
    return 0


def check_flags(args: Namespace) -> None:
    """Settles the defaults of --data; InputError for a flag that belongs to another kind of it."""
    kind = args.data if args.data in (*SIMULATED, CHART) else "a folder"
    others = {
        "--seed": (args.seed, SYNTHETIC),
        "--scenes": (args.scenes, SYNTHETIC),
        "--colours": (args.colours, SYNTHETIC),
        "--picture": (args.picture, CHART),
        "--split": (args.split, "a folder"),
        "--leave-out-misaligned": (args.leave_out_misaligned or None, "a folder"),
    }
    for flag, (value, belongs) in others.items():
        if value is not None and belongs != kind:
            raise InputError(
                f"{flag} belongs to --data {belongs.replace('a folder', 'DIR')}, but --data is "
                f"{args.data}; leave {flag} out"
            )
    if kind == "a folder":
        args.split = args.split or "test"
    if kind == SYNTHETIC:
        args.seed, args.scenes = args.seed or 0, SCENES if args.scenes is None else args.scenes
        for flag, value, least in (("--seed", args.seed, 0), ("--scenes", args.scenes, 1)):
            if value < least:
                raise InputError(f"{flag} must be at least {least}, but got {value}; raise it")
    if kind == CHART and args.protocol:
        raise InputError(
            f"--protocol must come with pictures, but --data is chart, which is scored by "
            f"CIEDE2000; leave out --protocol {args.protocol[0]}"
        )


def check_writable(flag: str, path: Path | None) -> None:
    """Raises InputError, before the work, where no file could be written to `path`."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{flag} must be a file, but {path} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{flag} needs a folder that exists, but got {path.parent}; make it")


if __name__ == "__main__":
    sys.exit(cli.run(main))
