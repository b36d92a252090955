"""`python -m nas.evaluate`: PSNR and SSIM of networks on real raw pairs, picture by picture, by
named protocols.

Several networks are compared on the same pictures: the table gives each one's mean difference to
the first (or to the one that --against names) with its 95 % interval (paired bootstrap over the
pictures). A network is MO, M1, M2, a genome's JSON file or a folder with weights; "amplified" is
no network: amplifying and developing alone.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import TaskID

from nas import cli
from nas.study.config import resolve_device
from space import InputError

if TYPE_CHECKING:
    from nas.view.scores import EvaluatedModel
    from trials.data import PairFiles
    from trials.scoring import Protocol, Restorer

SPLITS = ("test", "val", "train", "all")
BASELINE = "amplified"
EXAMPLE = "python -m nas.evaluate --model MO --weights mo_checkpoint.pt --data SID --split test"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.evaluate", description=__doc__, example=EXAMPLE)
    add = parser.add_argument
    model = (
        "MO=mo_checkpoint.pt, GENOME.json=weights.safetensors, a trial's or an export's folder, "
        "or amplified; several are compared"
    )
    several: dict[str, Any] = {"action": "extend", "nargs": "+"}
    add("--model", required=True, metavar="MODEL[=WEIGHTS]", help=model, **several)
    weights = "of a single --model: a published checkpoint or a weights.safetensors"
    add("--weights", help=weights)
    against = "what the others are compared with (default: the first)"
    add("--against", metavar="MODEL", help=against)
    add("--data", required=True, help="a folder in SID's layout")
    split = "which of its lists (default: test)"
    add("--split", default="test", choices=SPLITS, help=split)
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


@dataclass(frozen=True, kw_only=True)
class ModelArgument:
    """One --model. `label` names it in tables."""

    label: str
    model: str
    weights: str | None


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    arguments = parse_models(args.model, args.weights)
    reference = find_reference(arguments, args.against)
    for flag, path in (("--csv", args.csv), ("--json", args.json)):
        check_writable(flag, path)
    from trials.scoring import find_protocol, score_pictures

    protocols = [find_protocol(name) for name in dict.fromkeys(args.protocol or ["float"])]
    device = resolve_device(args.device)
    restorers, models = zip(*(load(argument, device) for argument in arguments), strict=True)
    from nas.view.scores import Setting, collect, print_results, write_csv, write_json
    from trials.data import DecodedCache, decode_pairs, select_split

    cache = DecodedCache(args.runs / "cache")
    rows, left_out = select_rows(select_split(args.data, args.split, cache), protocols, args)
    with cli.progress_bar() as bar:
        tasks: dict[str, TaskID] = {}

        def on_progress(phase: str, done: int, total: int, figures: dict[str, float]) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task({"decode": "decoding", "restore": "restoring"}[phase])
            bar.update(tasks[phase], completed=done, total=total)

        pictures = decode_pairs(rows, cache, on_progress)
        scores = score_pictures(
            restorers, pictures, protocols, device=device, on_progress=on_progress
        )
    setting = Setting(args.data, args.split, left_out, args.by_scene, reference.label)
    results = []
    for protocol in protocols:
        images = [by_protocol[protocol.name] for by_protocol in scores]
        results += collect(protocol, models, images, setting)
    print_results(cli.make_console(), results, setting)
    if args.csv:
        write_csv(args.csv, results)
    if args.json:
        write_json(args.json, results, setting)
    return 0


def parse_models(words: Sequence[str], weights: str | None) -> list[ModelArgument]:
    """--model and --weights; InputError where a model appears twice or has weights twice."""
    if weights is not None and len(words) > 1:
        raise InputError(
            f"--weights must belong to a single --model, but there are {len(words)}; write each "
            "as --model MO=mo_checkpoint.pt"
        )
    pairs = [split_weights(word) for word in words]
    if weights is not None:
        if pairs[0][1] is not None:
            raise InputError(
                f"a model must have its weights once, but got {words[0]} and {weights}; drop one"
            )
        pairs = [(pairs[0][0], weights)]
    seen: dict[tuple[str, str], str] = {}
    for word, (model, file) in zip(words, pairs, strict=True):
        resolved = model if model in cli.NAMED else str(Path(model).resolve())
        key = resolved, str(Path(file).resolve()) if file else ""
        if key in seen:
            raise InputError(
                f"each model must be given once, but {word} is {seen[key]} again; leave one out"
            )
        seen[key] = word
    names = [model.rstrip("/") for model, _ in pairs]
    return [
        ModelArgument(
            label=name if names.count(name) == 1 else f"{name}={file}", model=model, weights=file
        )
        for name, (model, file) in zip(names, pairs, strict=True)
    ]


def split_weights(word: str) -> tuple[str, str | None]:
    """MODEL and WEIGHTS of MODEL[=WEIGHTS]; a path may hold an equals sign itself."""

    def is_model(text: str) -> bool:
        return text in cli.NAMED or Path(text).exists()

    if "=" not in word or is_model(word):
        return word, None
    cuts = [index for index, letter in enumerate(word) if letter == "="]
    cut = next((cut for cut in cuts if is_model(word[:cut])), cuts[0])
    return word[:cut], word[cut + 1 :]


def find_reference(models: Sequence[ModelArgument], name: str | None) -> ModelArgument:
    """The model that the others are compared with; InputError where --against names not one."""
    if name is None:
        return models[0]
    names = (name, name.rstrip("/"))
    matching = [
        m for m in models if m.label in names or name in (m.model, f"{m.model}={m.weights}")
    ]
    if len(matching) != 1:
        raise InputError(
            f"--against must name one of the models ({', '.join(m.label for m in models)}), but "
            f"got {name}; choose one of them"
        )
    return matching[0]


def check_writable(flag: str, path: Path | None) -> None:
    """Raises InputError, before the work, where no file could be written to `path`."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"{flag} must be a file, but {path} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{flag} needs a folder that exists, but got {path.parent}; make it")


def load(argument: ModelArgument, device: str) -> tuple[Restorer, EvaluatedModel]:
    """What restores, on the device, and what it is. Raises as `load_network`."""
    from nas.view.scores import EvaluatedModel
    from trials.scoring import baseline_restorer, network_restorer

    if argument.model == BASELINE and not Path(BASELINE).exists():
        if argument.weights is not None:
            raise InputError(
                f"{BASELINE} must come without weights, but got {argument.weights}; leave them out"
            )
        restorer, digest = baseline_restorer(), None
    else:
        network = cli.load_network(argument.model, argument.weights)
        digest = network.model.genome.digest
        balanced = network.white_balanced_input
        restorer = network_restorer(network.model.to(device), white_balanced_input=balanced)
    balanced = restorer.white_balanced_input
    return restorer, EvaluatedModel(
        **asdict(argument), white_balanced_input=balanced, digest=digest
    )


def select_rows(
    rows: list[PairFiles], protocols: Sequence[Protocol], args: Namespace
) -> tuple[list[PairFiles], list[str]]:
    """The rows that any protocol includes, all at least one; and the scenes that were left out."""
    from trials.scoring import MISALIGNED_SCENES

    where = f"{'every' if args.split == 'all' else f'the {args.split}'} list of {args.data}"
    excluded = MISALIGNED_SCENES if args.leave_out_misaligned else ()
    left_out = sorted({row.scene for row in rows if row.scene in excluded})
    rows = [row for row in rows if row.scene not in excluded]
    if not rows:
        raise InputError(
            f"there must be pictures to score, but {where} holds only misaligned scenes; drop "
            "--leave-out-misaligned"
        )
    for protocol in protocols:
        if not any(protocol.includes(row) for row in rows):
            raise InputError(
                f"protocol {protocol.name} must have its pictures "
                f"({protocol.description.partition(',')[0]}), but none of the {len(rows)} of "
                f"{where} is one (the first is {rows[0].name}); choose another --protocol"
            )
    return [row for row in rows if any(protocol.includes(row) for protocol in protocols)], left_out


if __name__ == "__main__":
    sys.exit(cli.run(main))
