"""`python -m nas.retrain`: the long training of one network, of a search's trial or of any genome.

Stop it however you like (Ctrl-C, kill -9, a power cut): the same command resumes from the last
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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import cli
from nas.study.config import SYNTHETIC
from nas.training.folder import BEFORE_COOLDOWN, check_same, claimed, read_settings, write_settings
from nas.training.settings import PRECISIONS, STEPS, Plan, make_plan
from nas.training.view import View
from nas.view.tables import duration
from space import InputError

if TYPE_CHECKING:
    from space import DarkUNet
    from trials import Checkpointer
    from trials.training.checkpoints import State

EXAMPLE = "python -m nas.retrain --genome MO --steps 40000 --out runs/mo-long"
EXIT_DIVERGED = 1
EXIT_TERMINATED = 143


def parse(argv: Sequence[str]) -> Namespace:
    """The flags; InputError where one is unknown or ill-typed."""
    parser = cli.Parser(prog="python -m nas.retrain", description=__doc__, example=EXAMPLE)
    add = parser.add_argument
    add("--study", help="a study's name (dark) or TOML file; its recipe and data are the defaults")
    add("--trial", type=int, metavar="N", help="which trial of the study")
    genome = "instead of --trial: a name (MO, F1 ...), a genome's JSON file, or a trial's folder"
    add("--genome", metavar="FILE|NAME", help=genome)
    add("--from-trial-weights", action="store_true", help="begin with the trial's weights")
    weights = "begin with these weights: a weights.safetensors, or a published checkpoint"
    add("--weights", type=Path, help=weights)
    continued = "go on with the training in this folder, to more --steps, into another --out"
    add("--continue", dest="continued", type=Path, metavar="DIR", help=continued)
    add("--data", help=f"a folder in SID's layout, or {SYNTHETIC} (default: the study's)")
    photos = "a folder of well-exposed photos that become scenes too (the study's)"
    add("--photos", metavar="DIR", help=photos)
    out = "the training's folder: checkpoints, curve, and the network at the end"
    add("--out", type=Path, required=True, help=out)
    add("--steps", type=int, help=f"optimiser steps in all ({STEPS:,}), cool-down included")
    add("--batch", type=int, help="crops per step (the study's)")
    add("--crop", type=int, help="side of a crop in mosaic pixels (the study's)")
    add("--learning-rate", type=float, help="rate until the cool-down (the study's)")
    add("--ema-decay", type=float, help="decay per step of the averaged weights (0.999)")
    add("--scenes", type=int, help="synthetic data only: number of training scenes (the study's)")
    add("--seed", type=int, help="fixes the first weights and the crops (the study's)")
    precision = "of the forward pass (auto: bfloat16 on a GPU)"
    add("--precision", choices=PRECISIONS, default="auto", help=precision)
    add("--eval-steps", type=int, help="steps between evaluations (a 20th of all)")
    add("--checkpoint-min", type=float, default=3.0, help="minutes between checkpoints (3)")
    add("--device", help="auto, cpu, cuda or cuda:N (the study's)")
    threads = "CPU threads; a resumed training takes as many as it began with"
    add("--threads", type=int, help=threads)
    cli.add_storage_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Runs the command."""
    args = parse(argv)
    plan = make_plan(args)
    with claimed(args.out) as earlier, View(args.out / "log.txt", plan.train.steps) as view:
        return _retrain(args, plan, earlier, view, argv)


def _retrain(
    args: Namespace, plan: Plan, earlier: dict[str, Any] | None, view: View, argv: list[str]
) -> int:
    import torch

    from nas.training.run import run
    from trials import Checkpointer, PreemptedError, load_data
    from trials.device import device_errors
    from trials.training.trainer import check

    out: Path = args.out
    threads = plan.threads or (earlier or {}).get("threads") or torch.get_num_threads()
    torch.set_num_threads(threads)
    model, network_input = plan.initial()
    check(model, plan.train)
    if network_input != plan.data.network_input:
        raise InputError(
            f"the first weights must want the input that the data gives, but {plan.start} want it "
            f"{network_input}; set data.white_balanced_input and data.black_corrected_input in "
            "the study's file, or train from scratch"
        )
    cache = plan.cache
    data = load_data(plan.data, device=plan.device, cache_dir=cache, on_progress=view.progress)
    digest = _digest(model) if plan.weights else None
    before = _before_cooldown(plan)
    if plan.continued:
        digest = hashlib.sha256((plan.continued / BEFORE_COOLDOWN).read_bytes()).hexdigest()[:16]
    settings = plan.settings(torch.get_num_threads(), digest, data.description)
    if earlier is not None:
        check_same(earlier, settings, out)
    if plan.continued:
        changes = ("train.steps", "eval_steps", "start", "start.digest")
        check_same(
            read_settings(plan.continued) or {}, settings, plan.continued, may_differ=changes
        )
    stop = cli.StopSignal()
    checkpointer = Checkpointer(
        folder=out / "checkpoints", every_s=60 * args.checkpoint_min, stop=stop.requested
    )
    if (out / "result.json").is_file():
        checkpointer.discard()
        view.note(f"finished already: {_figures(out)} -> {out}")
        return 0
    write_settings(out, settings, plan.genome)
    state = _load(checkpointer, plan, settings, view, before, is_new=earlier is None)
    stop.deferring = True
    crops = f"a training on {plan.train.batch} crops of {plan.train.crop}"
    advice = "lower --batch or --crop, into another --out"
    try:
        with stop.installed(), device_errors(plan.device, crops, advice):
            log = run(plan, model, data, settings, out, checkpointer, state, view)
    except PreemptedError:
        again = shlex.join(["python", "-m", "nas.retrain", *argv])
        view.note(
            f"stopped at step {checkpointer.step:,} of {plan.train.steps:,}; the same command "
            f"goes on: {again}"
        )
        return EXIT_TERMINATED if signal.SIGTERM in stop.signals else cli.EXIT_INTERRUPTED
    if log.diverged:
        last = "there was no checkpoint yet"
        if saved := checkpointer.paths():
            last = f"the last good checkpoint is {saved[0]}"
        view.note(
            f"diverged: the loss ran away or was not finite at step {log.steps:,}; {last}; train "
            "again into another --out with a lower --learning-rate"
        )
        return EXIT_DIVERGED
    checkpointer.discard()
    waited = 100 * log.waited_s / log.seconds if log.seconds else 0.0
    view.note(
        f"done: {plan.train.steps:,} steps in {duration(log.seconds)} of training, {waited:.1f} % "
        f"of it waiting for data; {_figures(out)} -> {out}"
    )
    source = "DIR" if plan.data.source == SYNTHETIC else str(plan.data.source)
    evaluate = ["python", "-m", "nas.evaluate", "--model", str(out), "--data", source]
    view.note(f"evaluate it: {shlex.join(evaluate)}")
    return 0


def _load(
    checkpointer: Checkpointer,
    plan: Plan,
    settings: dict[str, Any],
    view: View,
    before: State | None,
    *,
    is_new: bool,
) -> State | None:
    """The state to resume or go on from, if any, and where the training begins as a note."""
    state = checkpointer.load(settings)
    for path in checkpointer.damaged:
        view.note(f"checkpoint {path} is damaged and was left out")
    if state is not None:
        step = state["log"]["steps"]
        view.note(f"resuming at step {step:,} of {plan.train.steps:,}")
        view.begin(step)
        return state
    if not is_new:
        view.note("no checkpoint to resume from: beginning again")
    view.note(
        f"{plan.name} ({plan.genome.digest[:8]}), {plan.train.steps:,} steps from {plan.start} on "
        f"{plan.data.source}{' and photos' if plan.data.photos else ''}, {plan.device}, "
        f"{plan.precision}"
    )
    step = before["log"]["steps"] if before else 0
    view.begin(step)
    return before


def _before_cooldown(plan: Plan) -> State | None:
    """The state that --continue goes on from; InputError where it is damaged, or too far."""
    if plan.continued is None:
        return None
    from trials.training.checkpoints import DamagedError, read
    from trials.training.trainer import cooldown_start

    try:
        state = read(plan.continued / BEFORE_COOLDOWN)
    except DamagedError as error:
        raise InputError(
            f"--continue must find an intact state, but {error}; train again from the start"
        ) from error
    done, steps = state["log"]["steps"], plan.train.steps
    if cooldown_start(steps, plan.train) < done:
        raise InputError(
            f"--steps must leave {done:,} steps before their cool-down, which are done already, "
            f"but {steps:,} leave {cooldown_start(steps, plan.train):,}; raise --steps"
        )
    return state


def _figures(folder: Path) -> str:
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    pairs = f"{len(result['images'])} held-out pairs"
    return f"{result['psnr_db']:.2f} dB, SSIM {result['ssim']:.4f} on {pairs}"


def _digest(model: DarkUNet) -> str:
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(cli.run(main))
