"""`python -m nas.export`: winners of a study as folders that stand alone.

Each holds model.json (what it is and how it is fed), weights.safetensors, model.onnx and
card.html. What was written is read back and checked: onnxruntime against torch, the weights, and
PSNR again on two of the study's held-out pairs.
"""

from __future__ import annotations

import datetime
import math
import platform
import subprocess
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from nas import cli
from nas.outputs.trained_model import Trained, of_training, of_trial
from nas.study import selection as winners
from nas.study.config import resolve_device
from nas.study.reader import open_to_read, study_name
from nas.study.records import Row, read_rows
from nas.study.schema import FRONT_LATENCY
from space import InputError
from space.export_format import check_place, load_model, new_folder, read_saved, save

if TYPE_CHECKING:
    import optuna

    from space import DarkUNet
    from trials.data.pair import Pair, TrialData

ONNX, CARD = "model.onnx", "card.html"
PROTOCOL = "float pictures, PSNR with peak 1, SSIM 7 x 7 uniform, mean over the pictures"
# What PSNR may differ by when a pair is restored again: on the device and in the dtype of the
# search; else.
SAME_DB, OTHER_DB = 0.01, 0.1
# A GPU draws other noise into synthetic pairs than a CPU.
OTHER_NOISE_DB = 1.0
EXAMPLE = "python -m nas.export --study dark --front --out exports"


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.export", description=__doc__, example=EXAMPLE)
    parser.add_argument(
        "--study", required=True, help="a study by name (dark), or the path of its TOML file"
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--trial", type=int, metavar="N", help="this trial")
    which.add_argument(
        "--front",
        action="store_true",
        help="every trial on the Pareto front, each in OUT/trial-NNNN",
    )
    which.add_argument(
        "--fastest-above-db",
        type=_number,
        metavar="DB",
        help="the fastest trial of at least this PSNR",
    )
    which.add_argument(
        "--best-under-ms",
        type=_number,
        metavar="MS",
        help="the trial of the highest PSNR within this latency",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the folder to make (with --front: the folder of the folders)",
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FOLDER",
        help="of a longer training of the network (nas.retrain's --out), instead of the trial's",
    )
    parser.add_argument("--force", action="store_true", help="replace an export that is there")
    cli.add_storage_arguments(parser)
    parser.add_argument("--data", help="the study's pairs, where they have moved since")
    args = parser.parse_args(argv)
    if args.front and args.weights:
        raise InputError(
            "--weights are those of one network, but --front exports several; give --trial N"
        )
    return args


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    study = open_to_read(args.study, storage=args.storage, runs=args.runs)
    rows = choose(args, study)
    places = {
        row.number: args.out / f"trial-{row.number:04d}" if args.front else args.out
        for row in rows
    }
    for place in places.values():
        check_place(place, force=args.force)
    from nas.outputs.onnx import require_onnx

    require_onnx()
    folder = args.runs / study_name(args.study)
    trained = [
        of_training(row, args.weights) if args.weights else of_trial(row, study, folder)
        for row in rows
    ]
    console = cli.make_console()
    check = load_check(
        trained[0], args.data, folder / "cache"
    )  # of one study, so the same for all
    for row, one in zip(rows, trained, strict=True):
        try:
            found = export(row, one, study, places[row.number], check, force=args.force)
        except InputError as error:
            raise InputError(f"trial {row.number} ({row.name}): {error}") from error
        _tell(console, row, one, places[row.number], found)
    console.print(
        f'in Python: space.load_model("{escape(str(places[rows[0].number]))}"); card.html '
        f"opens in any browser",
        soft_wrap=True,
    )
    return 0


def choose(args: Namespace, study: optuna.Study) -> list[Row]:
    """The rows that the flags mean; InputError where there are none."""
    rows = read_rows(study)
    if args.trial is not None:
        return [winners.by_number(rows, args.trial)]
    if args.fastest_above_db is not None:
        return [winners.fastest_above(rows, args.fastest_above_db)]
    if args.best_under_ms is not None:
        return [winners.best_under(rows, args.best_under_ms)]
    return winners.front(rows, study.user_attrs.get("config", {}).get("latency_limit_ms"))


@dataclass(frozen=True, kw_only=True)
class Check:
    """What an export is judged by again: two of the held-out pairs, on `device`."""

    pairs: list[Pair]
    device: str
    tolerance_db: float


def load_check(trained: Trained, source: str | None, cache: Path) -> Check:
    """Two held-out pairs of the data that `trained` was judged on (from `source` where it has
    moved).

    Raises InputError where the data is not there, or no longer what it was.
    """
    from trials import load_data

    config = replace(trained.data, source=source) if source else trained.data
    device = _device(trained.device)
    same = device.partition(":")[0] == trained.device.partition(":")[0]
    with cli.progress_bar() as bar:
        task = bar.add_task("the study's pairs")
        loaded: TrialData = load_data(
            config,
            device=device,
            cache_dir=cache,
            on_progress=lambda phase, done, total, figures: bar.update(
                task, completed=done, total=total
            ),
        )
    known, now = trained.about_data.get("digest"), loaded.description.get("digest")
    if known is not None and known != now:
        raise InputError(
            f"an export is judged again on the study's pairs, but the data at "
            f"{config.source} has changed (digest was "
            f"{known}, is {now}); give the old data with --data DIR"
        )
    pairs = loaded.held_out
    chosen = [pairs[index] for index in sorted({0, len(pairs) // 2})]
    tolerance_db = (
        SAME_DB if same else OTHER_NOISE_DB if str(config.source) == "synthetic" else OTHER_DB
    )
    return Check(pairs=chosen, device=device, tolerance_db=tolerance_db)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What reading an export back found: {"64x96": largest difference of onnxruntime}, {pair's
    name: PSNR in dB}.
    """

    onnx: dict[str, float]
    psnr_db: dict[str, float]


def export(
    row: Row,
    trained: Trained,
    study: optuna.Study,
    out: Path,
    check: Check,
    *,
    force: bool = False,
) -> Checked:
    """Writes the network of `row`, as `trained`, to `out`, which is whole or not there.

    Raises InputError where its weights are missing, or where what was written does not hold what
    it should.
    """
    import cv2
    import torch

    from nas.cli.networks import load_network
    from nas.outputs.drawing import draw_svg
    from nas.outputs.layout import lay_out
    from nas.outputs.model_card import draw_card
    from nas.outputs.onnx import OPSET, TOLERANCE, check_onnx, write_onnx
    from space import fold
    from trials.preview import draw_preview

    network = load_network(str(trained.folder), None)
    model = network.model
    with new_folder(out, force=force) as beside:
        plain = fold(model)
        description = describe(row, trained, study, model)
        description["onnx"] = {
            "file": ONNX,
            "opset": OPSET,
            "input": "mosaic",
            "output": "rgb",
            "tolerance": TOLERANCE,
        }
        save(
            beside,
            model,
            name=row.name,
            white_balanced_input=network.white_balanced_input,
            more=description,
        )
        again = load_model(beside)
        wanted, given = plain.state_dict(), again.state_dict()
        if wanted.keys() != given.keys() or not all(
            torch.equal(wanted[name], given[name]) for name in wanted
        ):
            raise InputError(
                "the weights that were written must be the trial's, but reading them back "
                "gave others; check the disk"
            )
        about = {
            "name": row.name,
            "digest": model.genome.digest,
            "size_multiple": model.size_multiple,
            "white_balanced": network.white_balanced_input,
            "cfa": "RGGB",
        }
        write_onnx(plain, beside / ONNX, about=about)
        found = Checked(
            onnx=check_onnx(beside / ONNX, again), psnr_db=_judge(trained, again, check)
        )
        right, picture = cv2.imencode(
            ".jpg",
            draw_preview(again.to(check.device), check.pairs)[:, :, ::-1],
            [cv2.IMWRITE_JPEG_QUALITY, 92],
        )
        assert right
        drawing = draw_svg(
            lay_out(model.genome, description["cost"]["parts"]), title=f"network {row.name}"
        )
        card = draw_card(read_saved(beside), drawing=drawing, picture=picture.tobytes())
        (beside / CARD).write_text(card, encoding="utf-8")
    return found


def describe(row: Row, trained: Trained, study: optuna.Study, model: DarkUNet) -> dict[str, Any]:
    """What model.json tells beside the network itself: quality, latency, cost, training,
    provenance.
    """
    from space import count_cost

    attrs = study.user_attrs
    trial = study.get_trials(deepcopy=False)[row.number].user_attrs
    again = attrs.get(FRONT_LATENCY, {}).get(row.digest or "", {}) if row.remeasured else {}
    measured: dict[str, Any] = again.get("latency") or trial.get("latency") or {}
    form = (
        "height",
        "width",
        "dtype",
        "memory_format",
        "runtime",
        "streams",
        "threads",
        "device",
        "device_name",
        "torch_version",
        "peak_memory_mib",
    )
    cost = count_cost(
        model.genome, int(measured.get("height", 512)), int(measured.get("width", 512))
    )
    return {
        "quality": {
            "psnr_db": trained.psnr_db,
            "ssim": trained.ssim,
            "protocol": PROTOCOL,
            "pairs": len(trained.images),
            "images": trained.images,
            "baseline_psnr_db": trained.baseline_psnr_db,
        },
        "latency": {
            "latency_ms": row.latency_ms,
            "ratio_to_mo": row.ratio_to_mo,
            "ratio_interval": row.ratio_interval,
            "steady": row.steady,
            "how": "with the front, all in turn with MO in one run"
            if row.remeasured
            else "in its trial, in turn with MO",
            "form": {key: measured[key] for key in form if key in measured},
        },
        "cost": cost.to_dict(),
        "training": {
            "data": trained.about_data,
            "recipe": trained.recipe,
            "seed": trained.seed,
            "seconds": trained.seconds,
        },
        "provenance": {
            "study": study.study_name,
            "trial": row.number,
            "baseline": row.baseline,
            "weights_from": str(trained.folder),
            "proposed_by": trial.get("sampler"),
            "device": attrs.get("device"),
            "exported_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": _versions(),
            "commit": _commit(),
        },
    }


def _judge(trained: Trained, model: DarkUNet, check: Check) -> dict[str, float]:
    import torch

    from trials import evaluate
    from trials.latency.deployment import judged_form, numerics

    told = {image["name"]: image["psnr_db"] for image in trained.images}
    judged = judged_form(model, trained.latency, check.device)
    found: dict[str, float] = {}
    for pair in check.pairs:
        with numerics(torch.device(check.device)):
            now = evaluate(judged, [pair])[0].psnr_db
        before = told.get(pair.name, math.nan)
        if not abs(now - before) <= check.tolerance_db:
            raise InputError(
                f"the exported network must score what was told of it, but {pair.name} "
                f"gives {now:.3f} dB and "
                f"{trained.folder.name} told {before:.3f} dB (allowed: "
                f"{check.tolerance_db:g} dB); are these its "
                "files and data? nothing was exported"
            )
        found[pair.name] = now
    return found


def _device(asked: str) -> str:
    """The study's device where this machine has one of its kind, else the CPU."""
    try:
        return resolve_device(asked)
    except InputError:
        return "cpu"


def _versions() -> dict[str, str]:
    import torch

    try:
        ours = version("dark-nas")
    except PackageNotFoundError:  # run from a folder of its own
        ours = "not installed"
    return {"dark-nas": ours, "python": platform.python_version(), "torch": str(torch.__version__)}


def _commit() -> str | None:
    """The commit of this program's files, with a "+" where they were changed since; None outside
    of a repository.
    """
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        ask = ["git", "-C", str(root)]
        head = subprocess.run(
            [*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=20
        )
        changed = subprocess.run(
            [*ask, "status", "--porcelain", "-uno"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _tell(console: Console, row: Row, trained: Trained, place: Path, found: Checked) -> None:
    ratio = "" if row.ratio_to_mo is None else f", {row.ratio_to_mo:.2f} x MO"
    scores = ", ".join(f"{name} {psnr_db:.2f} dB" for name, psnr_db in found.psnr_db.items())
    console.print(
        f"[bold]{escape(str(place))}[/]  trial {row.number} ({row.name}): "
        f"{trained.psnr_db:.2f} dB, "
        f"{row.latency_ms:.2f} ms{ratio}",
        soft_wrap=True,
    )
    console.print(
        f"  read back: onnxruntime is within {max(found.onnx.values()):.1g} of torch at "
        f"{', '.join(found.onnx)}; "
        f"{escape(scores)}, as told",
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
