"""`python -m nas.retrain`: the long training of one network, of a search's trial or of any genome.

Stop it however you like (Ctrl-C, kill -9, a power cut): the same command goes on from the last
checkpoint, on a CPU to the same weights bit for bit. At the end --out is a folder like a trial's,
for nas.evaluate, nas.export and nas.restore.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import cli
from nas.cli.signals import StopSignal
from nas.study.config import SYNTHETIC
from nas.training.settings import (
    PRECISIONS,
    STEPS,
    Plan,
    check_same,
    claimed,
    make_plan,
    write_settings,
)
from nas.training.view import View
from nas.view.tables import duration
from space import InputError
from space.export_format import WEIGHTS

if TYPE_CHECKING:
    from space import DarkUNet
    from trials import TrialData
    from trials.training.long_loop import LongTraining

EXIT_DIVERGED = 1
EXIT_TERMINATED = 143


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(
        prog="python -m nas.retrain",
        description=__doc__,
        example="python -m nas.retrain --genome MO --steps 40000 --out runs/mo-long",
    )
    add = parser.add_argument
    add(
        "--study",
        help="a study by name (dark) or a path to its TOML file; its recipe and data are the "
        "defaults",
    )
    add("--trial", type=int, metavar="N", help="which trial of the study")
    add(
        "--genome",
        metavar="FILE|NAME",
        help="a name (MO, M1, F1 ...), a genome's JSON file, or a trial's folder, instead of "
        "--trial",
    )
    add(
        "--from-trial-weights",
        action="store_true",
        help="begin with the trial's weights (default: from scratch)",
    )
    add(
        "--weights",
        type=Path,
        help="begin with these weights: a weights.safetensors, or a published checkpoint",
    )
    add("--data", help=f"a folder in SID's layout, or {SYNTHETIC} (default: the study's)")
    add(
        "--out",
        type=Path,
        required=True,
        help="the training's folder: checkpoints, curve, and the network at the end",
    )
    add(
        "--steps",
        type=int,
        help=f"optimiser steps in all ({STEPS:,}); the rate falls to zero over them",
    )
    add("--batch", type=int, help="crops per step (the study's)")
    add("--crop", type=int, help="side of a crop in mosaic pixels (the study's)")
    add("--learning-rate", type=float, help="Adam's peak rate (the study's)")
    add("--ema-decay", type=float, help="decay per step of the averaged weights (0.999)")
    add("--scenes", type=int, help="synthetic data only: number of training scenes (the study's)")
    add("--seed", type=int, help="fixes the first weights and the crops (the study's)")
    add(
        "--precision",
        choices=PRECISIONS,
        default="auto",
        help="of the forward pass (auto: bfloat16 on a GPU)",
    )
    add(
        "--eval-steps",
        type=int,
        help="held-out pairs are judged after every so many steps (a 20th of all)",
    )
    add(
        "--checkpoint-min",
        type=float,
        default=3.0,
        help="minutes from one checkpoint to the next (3)",
    )
    add("--device", help="auto, cpu, cuda or cuda:N (the study's)")
    add(
        "--threads",
        type=int,
        help="CPU threads; a resumed training takes as many as it began with",
    )
    cli.add_storage_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    plan = make_plan(args)
    with claimed(args.out) as known, View(args.out / "log.txt", plan.train.steps) as view:
        return _retrain(args, plan, known, view, argv)


def _retrain(
    args: Namespace, plan: Plan, known: dict[str, Any] | None, view: View, argv: list[str]
) -> int:
    import torch

    from trials import load_data
    from trials.training.long_loop import LongConfig, LongTraining

    torch.set_num_threads(plan.threads or (known or {}).get("threads") or torch.get_num_threads())
    model, balanced = plan.initial()
    if balanced != plan.data.white_balanced_input:
        raise InputError(
            f"the first weights must want the input that the data gives, but {plan.start} want it "
            f"{'' if balanced else 'not '}white-balanced; set data.white_balanced_input "
            f"in the study's file, "
            "or train from scratch"
        )
    view.phase("data")
    data = load_data(
        plan.data, device=plan.device, cache_dir=plan.cache, on_progress=view.progress
    )
    settings = plan.settings(
        torch.get_num_threads(), _digest(model) if plan.weights else None, data.description
    )
    config = LongConfig(
        train=plan.train,
        seed=plan.seed,
        precision=getattr(torch, plan.precision),
        eval_steps=plan.eval_steps,
    )
    training = LongTraining(model, data, config, args.out)
    if known is not None:
        check_same(known, settings, args.out)
    if (args.out / "result.json").is_file():
        training.checkpoints.remove()
        view.note(f"finished already: {_figures(args.out)} -> {args.out}")
        return 0
    write_settings(args.out, settings, plan.genome)
    _resume(training, view, plan, data, known is not None)
    view.phase("train", training.log.step)
    asked = StopSignal()
    asked.deferring = True
    with asked.installed(), _device_errors(plan):
        log = training.run(checkpoint_s=60 * args.checkpoint_min, stop=asked.requested, tell=view.tell)
        if log.diverged:
            return _tell_divergence(training, view)
        if log.stopped:
            again = shlex.join(["python", "-m", "nas.retrain", *argv])
            view.note(
                f"stopped at step {log.step:,} of {plan.train.steps:,}; the same command "
                f"goes on: {again}"
            )
            return EXIT_TERMINATED if signal.SIGTERM in asked.signals else cli.EXIT_INTERRUPTED
        _leave(args.out, plan, training, data, settings)
    training.checkpoints.remove()
    waited = log.waited_s / log.seconds if log.seconds else 0.0
    view.note(
        f"done: {plan.train.steps:,} steps in {duration(log.seconds)} of training, "
        f"{100 * waited:.1f} % of it waiting "
        f"for data; {_figures(args.out)} -> {args.out}"
    )
    source = plan.data.source if str(plan.data.source) != SYNTHETIC else "DIR"
    view.note(
        f"judge it: "
        f"{shlex.join(['python', '-m', 'nas.evaluate', '--model', str(args.out), '--data', str(source)])}"
    )
    return 0


def _resume(training: LongTraining, view: View, plan: Plan, data: TrialData, begun: bool) -> None:
    found = training.resume()
    for path in found.damaged:
        view.note(f"checkpoint {path} is damaged and was left out")
    if found.step is not None:
        view.note(f"resuming at step {found.step:,} of {plan.train.steps:,}")
        return
    if begun:
        view.note("no checkpoint to go on from: beginning again")
    where = data.description.get("folder", SYNTHETIC)
    view.note(
        f"{plan.name} ({plan.genome.digest[:8]}), {plan.train.steps:,} steps from "
        f"{plan.start} on {where}, "
        f"{plan.device}, {plan.precision}"
    )


def _tell_divergence(training: LongTraining, view: View) -> int:
    left = training.checkpoints.paths()
    kept = f"the last good checkpoint is {left[0]}" if left else "there was no checkpoint yet"
    view.note(
        f"diverged: the loss ran away or was no number at step {training.log.step + 1:,}; "
        f"{kept}; train again into "
        "another --out with a lower --learning-rate"
    )
    return EXIT_DIVERGED


def _leave(
    folder: Path, plan: Plan, training: LongTraining, data: TrialData, settings: dict[str, Any]
) -> None:
    """What a trial leaves too: weights, preview, and last result.json."""
    from trials.outputs import write_result, write_weights
    from trials.preview import write_preview

    model, log = training.averaged(), training.log
    write_weights(folder / WEIGHTS, model, white_balanced_input=plan.data.white_balanced_input)
    pairs = data.held_out
    write_preview(
        folder / "preview.png", model, [pairs[index] for index in sorted({0, len(pairs) // 2})[:2]]
    )
    write_result(
        folder / "result.json",
        plan.genome,
        log,
        _trial_latency(plan.trial),
        {
            "settings": settings,
            "data": data.description,
            "steps": log.step,
            "waited_s": log.waited_s,
            "of": plan.name,
        },
    )


def _trial_latency(trial: Path | None) -> dict[str, Any]:
    """Latency and ratio to MO that the network's trial measured: training does not change them."""
    try:
        told = json.loads((trial / "result.json").read_text(encoding="utf-8")) if trial else {}
    except (OSError, ValueError):
        told = {}
    return {key: told.get(key) for key in ("latency", "ratio_to_mo")}


def _figures(folder: Path) -> str:
    told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return (
        f"{told['psnr_db']:.2f} dB, SSIM {told['ssim']:.4f} on {len(told['images'])} "
        f"held-out pairs"
    )


def _digest(model: DarkUNet) -> str:
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()[:16]


@contextmanager
def _device_errors(plan: Plan) -> Iterator[None]:
    """A device without memory, or gone, in one line."""
    from trials.device.errors import is_lost, is_out_of_memory, lost

    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise InputError(
                f"the training must fit in the memory of {plan.device}, but "
                f"{plan.train.batch} crops of "
                f"{plan.train.crop} do not; lower --batch or --crop, into another --out"
            ) from error
        if is_lost(error, plan.device):
            raise lost(error, plan.device) from error
        raise


if __name__ == "__main__":
    sys.exit(cli.run(main))
