"""A trained network as a folder that stands alone, read back and checked before it is there.

onnxruntime is held against torch, the weights against the trial's, and PSNR is measured again on
two of the study's held-out pairs.
"""

from __future__ import annotations

import datetime
import math
import platform
import subprocess
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas import cli
from nas.outputs.drawing import draw_network
from nas.outputs.model_card import compose_card
from nas.outputs.trained_model import Trained
from nas.study.config import resolve_device
from nas.study.records import Row
from nas.study.schema import FRONT_LATENCY
from space import Genome, InputError, count_cost
from space.files.export_format import load_model, new_folder, read_saved, save

if TYPE_CHECKING:
    import optuna

    from space import DarkUNet
    from trials import Pair, TrialData

ONNX, CARD, DRAWING, PREVIEW = "model.onnx", "README.md", "drawing.svg", "preview.png"
PROTOCOL = "float pictures, PSNR with peak 1, SSIM 7 x 7 uniform, mean over the pictures"
# What PSNR may differ by when a pair is restored again: on the search's kind of device; else.
SAME_DB, OTHER_DB = 0.01, 0.1
FORM = (
    *("height", "width", "dtype", "memory_format", "runtime", "streams", "threads"),
    *("device", "device_name", "torch_version", "peak_memory_mib"),
)


@dataclass(frozen=True, kw_only=True)
class Check:
    """What an export is scored on again: two of the held-out pairs, on `device`."""

    pairs: list[Pair]
    device: str
    tolerance_db: float


@dataclass(frozen=True, kw_only=True)
class ReadBack:
    """What was read back: {"64x96": largest difference of onnxruntime}, {pair: PSNR in dB}."""

    onnx: dict[str, float]
    psnr_db: dict[str, float]


def load_check(trained: Trained, source: str | None, cache: Path) -> Check:
    """Two held-out pairs of `trained`'s data (now at `source`); InputError if it has changed."""
    from trials import load_data
    from trials.data.pair import to_show

    config = replace(trained.data, source=source) if source else trained.data
    try:
        device = resolve_device(trained.device)
    except InputError:  # this machine has none of the study's kind
        device = "cpu"
    with cli.progress_bar() as bar:
        task = bar.add_task("the study's pairs")

        def on_progress(phase: str, done: int, total: int, figures: object) -> None:
            bar.update(task, completed=done, total=total)

        data: TrialData = load_data(
            config, device=device, cache_dir=cache, on_progress=on_progress
        )
    before, now = trained.about_data.get("digest"), data.description.get("digest")
    if before is not None and before != now:
        raise InputError(
            f"an export is scored again on the study's pairs, but the data at {config.source} has "
            f"changed (digest was {before}, is {now}); give the old data with --data DIR"
        )
    tolerance_db = OTHER_DB
    if device.partition(":")[0] == trained.device.partition(":")[0]:
        tolerance_db = SAME_DB
    return Check(pairs=to_show(data.held_out), device=device, tolerance_db=tolerance_db)


def export(
    row: Row,
    trained: Trained,
    study: optuna.Study,
    out: Path,
    check: Check,
    *,
    force: bool = False,
) -> ReadBack:
    """Writes the network of `row`, as `trained`, to `out`, which is whole or not there.

    Raises InputError where its weights are missing, or what was written reads back otherwise.
    """
    import cv2
    import torch

    from nas.outputs.onnx import OPSET, TOLERANCE, check_onnx, write_onnx
    from space import fold
    from trials.outputs import draw_preview, with_chart

    network = cli.load_network(str(trained.folder), None)
    model = network.model
    with new_folder(out, force=force) as folder:
        plain = fold(model)
        onnx = {"file": ONNX, "opset": OPSET, "input": "mosaic", "output": "rgb"}
        more = describe(row, trained, study, model.genome)
        more["onnx"] = {**onnx, "tolerance": TOLERANCE}
        save(folder, model, name=row.name, network_input=network.input, more=more)
        again = load_model(folder)
        weights, given = plain.state_dict(), again.state_dict()
        if weights.keys() != given.keys() or not all(
            torch.equal(tensor, given[name]) for name, tensor in weights.items()
        ):
            raise InputError("the weights must read back as written, but differ; check the disk")
        about = {
            "name": row.name,
            "digest": model.genome.digest,
            "size_multiple": model.size_multiple,
            "white_balanced": network.input.white_balanced,
            "black_corrected": network.input.black_corrected,
            "cfa": "RGGB",
        }
        write_onnx(plain, folder / ONNX, about=about)
        differences = check_onnx(folder / ONNX, again)
        psnr_db = _score_again(trained, again, check)
        pairs = with_chart(check.pairs, trained.data)
        preview = draw_preview(again.to(check.device), pairs)
        (folder / PREVIEW).write_bytes(cv2.imencode(".png", preview[:, :, ::-1])[1].tobytes())
        macs = more["cost"]["parts"]
        drawing = draw_network(model.genome, macs, title=f"network {row.name}")
        (folder / DRAWING).write_text(drawing, encoding="utf-8")
        (folder / CARD).write_text(compose_card(read_saved(folder)), encoding="utf-8")
    return ReadBack(onnx=differences, psnr_db=psnr_db)


def describe(row: Row, trained: Trained, study: optuna.Study, genome: Genome) -> dict[str, Any]:
    """What model.json says besides the network: quality, latency, cost, training, provenance."""
    attrs = study.user_attrs
    trial = study.get_trials(deepcopy=False)[row.number].user_attrs
    again = attrs.get(FRONT_LATENCY, {}).get(row.digest or "", {}) if row.remeasured else {}
    measured: dict[str, Any] = again.get("latency") or trial.get("latency") or {}
    height, width = (int(measured.get(side, 512)) for side in ("height", "width"))
    how = "with the front, all in turn with MO in one run"
    return {
        "quality": {
            **_fields(trained, "psnr_db", "ssim", "images", "baseline_psnr_db"),
            "protocol": PROTOCOL,
            "pairs": len(trained.images),
        },
        "latency": {
            **_fields(row, "latency_ms", "ratio_to_mo", "ratio_interval", "steady"),
            "how": how if row.remeasured else "in its trial, in turn with MO",
            "form": {key: measured[key] for key in FORM if key in measured},
        },
        "cost": count_cost(genome, height, width).to_dict(),
        "training": {"data": trained.about_data, **_fields(trained, "recipe", "seed", "seconds")},
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


def _fields(source: Row | Trained, *names: str) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _score_again(trained: Trained, model: DarkUNet, check: Check) -> dict[str, float]:
    import torch

    from trials import score_images
    from trials.latency.deployment import numerics, scoring_form

    reported = {image["name"]: image["psnr_db"] for image in trained.images}
    deployed = scoring_form(model, trained.latency, check.device)
    scores: dict[str, float] = {}
    for pair in check.pairs:
        with numerics(torch.device(check.device)):
            now = score_images(deployed, [pair])[0].psnr_db
        before = reported.get(pair.name, math.nan)
        if not abs(now - before) <= check.tolerance_db:
            raise InputError(
                f"the exported network must score as {trained.folder.name} reports, but "
                f"{pair.name} gives {now:.3f} dB instead of {before:.3f} dB (allowed: "
                f"{check.tolerance_db:g} dB); are these its files and data? nothing was exported"
            )
        scores[pair.name] = now
    return scores


def _versions() -> dict[str, str]:
    import torch

    try:
        ours = version("dark-nas")
    except PackageNotFoundError:  # run from a folder of its own
        ours = "not installed"
    return {"dark-nas": ours, "python": platform.python_version(), "torch": str(torch.__version__)}


def _commit() -> str | None:
    """The commit of this program's files, "+" where they were changed since; None without git."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
