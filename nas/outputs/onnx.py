"""A network as ONNX: one file that onnxruntime runs without this project, checked against torch
once it is written.

Written by torch's exporter that traces (`dynamo=False`): it needs no package but onnx, and its
pixel shuffles keep height and width free. Seen with torch 2.13.
"""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from space import DarkUNet, InputError

# An old one, so that old runtimes take it; nothing here needs a newer.
OPSET = 17
# Largest difference of a value in [0, 1] between onnxruntime and torch.
TOLERANCE = 1e-4
NEEDED = ("onnx", "onnxruntime")


def require_onnx() -> None:
    """InputError where a package that writing and checking needs is missing; it names the extra."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"an export needs the Python packages {' and '.join(NEEDED)}, but "
            f"{' and '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} not installed; pip install '.[export]'"
        )


def write_onnx(model: DarkUNet, path: Path, *, about: dict[str, Any]) -> None:
    """Writes `model` (folded, on the CPU): input "mosaic" 1 1 height width, output "rgb" 1 3
    height width, both free.

    `about` is stored in the file's metadata, each value as JSON.
    """
    import onnx

    multiple = model.size_multiple
    free = {2: "height", 3: "width"}
    with warnings.catch_warnings():
        # Newer torch calls this exporter legacy on every call; the versions that we allow all have
        # it.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model.eval(),
            (torch.rand(1, 1, 2 * multiple, 3 * multiple),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["mosaic"],
            output_names=["rgb"],
            dynamic_axes={"mosaic": free, "rgb": free},
        )
    graph = onnx.load(str(path))
    onnx.helper.set_model_props(graph, {name: json.dumps(value) for name, value in about.items()})
    onnx.checker.check_model(graph, full_check=True)
    onnx.save(graph, str(path))


def check_onnx(path: Path, model: DarkUNet) -> dict[str, float]:
    """Largest difference between onnxruntime and torch for three sizes of random mosaics:
    {"64x96": 3e-7, ...}.

    Raises InputError, with the figure, where one is over TOLERANCE.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    multiple = model.size_multiple
    generator = torch.Generator().manual_seed(0)
    found: dict[str, float] = {}
    for rows, columns in ((1, 1), (2, 3), (5, 2)):
        mosaic = torch.rand(1, 1, rows * multiple, columns * multiple, generator=generator)
        with torch.inference_mode():
            wanted = model(mosaic)
        given = torch.from_numpy(session.run(["rgb"], {"mosaic": mosaic.numpy()})[0])
        size = f"{mosaic.shape[2]}x{mosaic.shape[3]}"
        if given.shape != wanted.shape:
            raise InputError(
                f"onnxruntime must give what torch gives, but at {size} {path.name} gives "
                f"shape {tuple(given.shape)} "
                f"instead of {tuple(wanted.shape)}; nothing was exported"
            )
        found[size] = float((given - wanted).abs().max())
        if not found[size] <= TOLERANCE:  # also where it is no number
            raise InputError(
                f"onnxruntime must give what torch gives to {TOLERANCE:g}, but at {size} "
                f"{path.name} differs by "
                f"{found[size]:.2g}; nothing was exported"
            )
    return found
