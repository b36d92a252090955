"""`python -m nas.evaluate`: PSNR and SSIM of networks on real raw pairs, picture by picture, by
named protocols.

Several networks are compared on the same pictures: the table tells each one's mean difference to
the first (or to the one that --against names) with its 95 % interval (paired bootstrap over the
pictures). A network is MO, M1, M2, a genome's JSON file or a folder with weights; "amplified" is
no network: amplifying and developing alone.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import TaskID

from nas import cli
from nas.cli.networks import NAMED, load_network
from nas.study.config import resolve_device
from space import InputError

if TYPE_CHECKING:
    from nas.view.scores import Contender
    from trials.data.sid import Row
    from trials.scoring.protocols import Protocol, Restorer

SPLITS = ("test", "val", "train", "all")
BASELINE = "amplified"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(
        prog="python -m nas.evaluate",
        description=__doc__,
        example="python -m nas.evaluate --model MO --weights mo_checkpoint.pt --data SID "
        "--split test",
    )
    parser.add_argument(
        "--model",
        required=True,
        action="extend",
        nargs="+",
        metavar="MODEL[=WEIGHTS]",
        help="MO=mo_checkpoint.pt, GENOME.json=weights.safetensors, a trial's or an export's "
        "folder, or "
        "amplified; several are compared",
    )
    parser.add_argument(
        "--weights", help="of a single --model: a published checkpoint or a weights.safetensors"
    )
    parser.add_argument(
        "--against", metavar="MODEL", help="what the others are compared with (default: the first)"
    )
    parser.add_argument("--data", required=True, help="a folder in SID's layout")
    parser.add_argument(
        "--split", default="test", choices=SPLITS, help="which of its lists (default: test)"
    )
    parser.add_argument(
        "--protocol",
        action="extend",
        nargs="+",
        metavar="NAME",
        help="float (default), uint8 (truncated), uint8-rounded, sid50, all-ratios, gain-aligned, "
        "colour-aligned; several are told one after the other",
    )
    parser.add_argument(
        "--leave-out-misaligned",
        action="store_true",
        help="without SID's test scenes 10034, 10045 and 10172, whose truth is out of register",
    )
    parser.add_argument(
        "--by-scene",
        action="store_true",
        help="draw whole scenes for the intervals: wider, and right where scenes have several "
        "pictures",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--csv", type=Path, help="write each picture's scores to this file")
    parser.add_argument("--json", type=Path, help="write everything to this file too")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="decoded photos are kept in RUNS/cache"
    )
    return parser.parse_args(argv)


@dataclass(frozen=True, kw_only=True)
class StopSignal:
    """One --model as it was asked for. `label` names it in tables."""

    label: str
    model: str
    weights: str | None


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    models = asked_models(args.model, args.weights)
    reference = find_reference(models, args.against)
    for flag, path in (("--csv", args.csv), ("--json", args.json)):
        check_writable(flag, path)
    from trials.scoring.protocols import find_protocol

    protocols = [find_protocol(name) for name in dict.fromkeys(args.protocol or ["float"])]
    device = resolve_device(args.device)
    loaded = [load(model, device) for model in models]
    from nas.view.scores import Setting, collect, print_results, write_csv, write_json
    from trials.data.cache import DecodedCache
    from trials.data.splits import split_rows
    from trials.scoring.pictures import load_pictures
    from trials.scoring.protocols import judge

    cache = DecodedCache(args.runs / "cache")
    rows, left_out = choose(split_rows(args.data, args.split, cache), protocols, args)
    console = cli.make_console()
    with cli.progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task({"decode": "decoding", "restore": "restoring"}[phase])
            bar.update(tasks[phase], completed=done, total=total)

        pictures = load_pictures(rows, cache, device=device, on_progress=on_progress)
        judged = judge(
            [restorer for restorer, _ in loaded], pictures, protocols, on_progress=on_progress
        )
    setting = Setting(
        data=args.data,
        split=args.split,
        left_out=left_out,
        by_scene=args.by_scene,
        against=reference.label,
    )
    contenders = [contender for _, contender in loaded]
    results = [
        result
        for protocol in protocols
        for result in collect(
            protocol, contenders, [scores[protocol.name] for scores in judged], setting
        )
    ]
    print_results(console, results, setting)
    if args.csv:
        write_csv(args.csv, results)
    if args.json:
        write_json(args.json, results, setting)
    return 0


def asked_models(words: Sequence[str], weights: str | None) -> list[StopSignal]:
    """The models of --model and --weights. Raises InputError where one appears twice or has
    weights twice.
    """
    if weights is not None and len(words) > 1:
        raise InputError(
            f"--weights must belong to a single --model, but there are {len(words)}; "
            f"write each with its "
            "own, as --model MO=mo_checkpoint.pt"
        )
    parted = [part(word) for word in words]
    if weights is not None:
        if parted[0][1] is not None:
            raise InputError(
                f"a model must have its weights once, but got {words[0]} and --weights "
                f"{weights}; leave "
                "one out"
            )
        parted = [(parted[0][0], weights)]
    seen: dict[tuple[str, str], str] = {}
    for word, (model, file) in zip(words, parted, strict=True):
        key = (
            model if model in NAMED else str(Path(model).resolve()),
            str(Path(file).resolve()) if file else "",
        )
        if key in seen:
            raise InputError(
                f"each model must be given once, but {word} is {seen[key]} again; leave one out"
            )
        seen[key] = word
    models = [model.rstrip("/") for model, _ in parted]
    return [
        StopSignal(
            label=shown if models.count(shown) == 1 else f"{shown}={file}",
            model=model,
            weights=file,
        )
        for shown, (model, file) in zip(models, parted, strict=True)
    ]


def part(word: str) -> tuple[str, str | None]:
    """MODEL and WEIGHTS of MODEL[=WEIGHTS]; a path may hold an equals sign itself."""
    if "=" not in word or word in NAMED or Path(word).exists():
        return word, None
    cuts = [index for index, letter in enumerate(word) if letter == "="]
    for cut in cuts:
        if word[:cut] in NAMED or Path(word[:cut]).exists():
            return word[:cut], word[cut + 1 :]
    return word[: cuts[0]], word[cuts[0] + 1 :]


def find_reference(models: Sequence[StopSignal], name: str | None) -> StopSignal:
    """The model that the others are compared with. Raises InputError where --against names none,
    or several.
    """
    if name is None:
        return models[0]
    found = [
        m
        for m in models
        if name in (m.label, m.model, f"{m.model}={m.weights}") or name.rstrip("/") == m.label
    ]
    if len(found) != 1:
        raise InputError(
            f"--against must name one of the models "
            f"({', '.join(m.label for m in models)}), but got {name}; "
            "choose one of them"
        )
    return found[0]


def check_writable(flag: str, path: Path | None) -> None:
    """Raises InputError where a file could not be written to `path`: better now than after the
    work.
    """
    if path is None:
        return
    if path.is_dir():
        raise InputError(
            f"{flag} must be a file, but {path} is a folder; give a file's name in it"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"{flag} must be in a folder that exists, but there is no {path.parent}; make it first"
        )


def load(asked: StopSignal, device: str) -> tuple[Restorer, Contender]:
    """What restores, on the device, and what it is. Raises as `load_network`."""
    from nas.view.scores import Contender
    from trials.scoring.protocols import baseline_restorer, network_restorer

    digest = None
    if asked.model == BASELINE and not Path(BASELINE).exists():
        if asked.weights is not None:
            raise InputError(
                f"{BASELINE} must come without weights, but got {asked.weights}: it is no "
                f"network; leave "
                "them out"
            )
        restorer = baseline_restorer()
    else:
        network = load_network(asked.model, asked.weights)
        restorer = network_restorer(
            network.model.to(device), white_balanced_input=network.white_balanced_input
        )
        digest = network.model.genome.digest
    balanced = restorer.white_balanced_input
    return restorer, Contender(
        label=asked.label,
        model=asked.model,
        weights=asked.weights,
        white_balanced_input=balanced,
        digest=digest,
    )


def choose(
    rows: list[Row], protocols: Sequence[Protocol], args: Namespace
) -> tuple[list[Row], list[str]]:
    """The rows that any protocol needs, and the misaligned scenes that were left out, if any were
    to be.

    Raises InputError where a protocol finds none of its pictures.
    """
    from trials.scoring.protocols import MISALIGNED_SCENES

    where = f"the {args.split} list" if args.split != "all" else "every list"
    kept = [
        row for row in rows if not (args.leave_out_misaligned and row.scene in MISALIGNED_SCENES)
    ]
    if not kept:
        raise InputError(
            f"there must be pictures to judge on, but {where} of {args.data} holds only "
            f"misaligned scenes; "
            "drop --leave-out-misaligned"
        )
    for protocol in protocols:
        if not any(protocol.holds(row) for row in kept):
            raise InputError(
                f"protocol {protocol.name} must have its pictures "
                f"({protocol.says.partition(',')[0]}), but "
                f"none of the {len(kept)} of {where} of {args.data} is one (the first is "
                f"{kept[0].name}); "
                "choose another --protocol or --split"
            )
    left_out = sorted({row.scene for row in rows} - {row.scene for row in kept})
    return [row for row in kept if any(protocol.holds(row) for protocol in protocols)], left_out


if __name__ == "__main__":
    sys.exit(cli.run(main))
