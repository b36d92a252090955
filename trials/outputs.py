"""What a finished training leaves in its folder, in the form of a trial's: weights and result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import save_file

from space import DarkUNet, Genome, count_cost
from trials.config import LatencyConfig
from trials.files import replacing
from trials.latency.measure import frame_size

if TYPE_CHECKING:
    from trials.training.long_loop import LongLog


def write_weights(path: Path, model: DarkUNet, *, white_balanced_input: bool) -> None:
    """Writes the weights as trained (weight norm unfolded), with the genome and what input they
    want.
    """
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()
    }
    balanced = "true" if white_balanced_input else "false"
    with replacing(path) as beside:
        save_file(
            state,
            beside,
            metadata={"genome": model.genome.to_json(), "white_balanced_input": balanced},
        )


def write_result(
    path: Path,
    genome: Genome,
    log: LongLog,
    measured: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    """Writes what a trial's result.json holds (`measured`: latency and ratio_to_mo, or None), and
    `training` beside.

    Cost is for the frame that the latency was measured on, else for a CPU's (512 x 512).
    """
    latency = measured.get("latency") or {}
    height, width = frame_size(LatencyConfig(), "cpu")
    cost = count_cost(genome, int(latency.get("height", height)), int(latency.get("width", width)))
    count = len(log.images)
    told = {
        "kind": "complete",
        "message": "",
        "genome": genome.to_dict(),
        "digest": genome.digest,
        "cost": cost.to_dict(),
        "latency": measured.get("latency"),
        "ratio_to_mo": measured.get("ratio_to_mo"),
        "psnr_db": sum(image.psnr_db for image in log.images) / count,
        "ssim": sum(image.ssim for image in log.images) / count,
        "images": [asdict(image) for image in log.images],
        "train_seconds": log.seconds,
        "training": dict(training),
    }
    with replacing(path) as beside:
        beside.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
