"""A network as ONNX: one file that onnxruntime runs without this project, checked against torch.

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
    """InputError, which names the extra, where a package that an export needs is missing."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise InputError(
            f"an export needs the Python packages {' and '.join(NEEDED)}, but "
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed; "
            "pip install '.[export]'"
        )


def write_onnx(model: DarkUNet, path: Path, *, about: dict[str, Any]) -> None:
    """Writes a folded `model`: input "mosaic" 1 1 height width, output "rgb" 1 3 height width.

    Height and width are free; `about` is stored in the file's metadata, each value as JSON.
    """
    import onnx

    multiple, free = model.size_multiple, {2: "height", 3: "width"}
    with warnings.catch_warnings():
        # Newer torch calls this exporter legacy on every call; all versions that we allow have it.
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
    """{"64x96": 3e-7, ...}: onnxruntime's largest difference; InputError if over TOLERANCE."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    multiple = model.size_multiple
    generator = torch.Generator().manual_seed(0)
    differences: dict[str, float] = {}
    for rows, columns in ((1, 1), (2, 3), (5, 2)):
        mosaic = torch.rand(1, 1, rows * multiple, columns * multiple, generator=generator)
        with torch.inference_mode():
            expected = model(mosaic)
        given = torch.from_numpy(session.run(["rgb"], {"mosaic": mosaic.numpy()})[0])
        size = f"{mosaic.shape[2]}x{mosaic.shape[3]}"
        if given.shape != expected.shape:
            raise InputError(
                f"onnxruntime must give what torch gives, but at {size} {path.name} gives shape "
                f"{tuple(given.shape)} instead of {tuple(expected.shape)}; nothing was exported"
            )
        differences[size] = float((given - expected).abs().max())
        if not differences[size] <= TOLERANCE:  # also where it is no number
            raise InputError(
                f"onnxruntime must give what torch gives to {TOLERANCE:g}, but at {size} "
                f"{path.name} differs by {differences[size]:.2g}; nothing was exported"
            )
    return differences
