"""Reads the published MO, M1 and M2 checkpoints into the baselines' networks.

The published weights are not part of this project: MO's are non-commercial and patent-pending (see
README).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from space.errors import InputError
from space.model import DarkUNet, build_model
from space.presets import BASELINES

# Published layer -> ours. Branches are ours, from fine to coarse.
_SHARED = {
    "resblock8x.conv1.0": "skip.0.conv1",
    "resblock8x.conv2.0": "skip.0.conv2",
    "conv32_8_cat.0.0": "merge.1",
    "conv32_8_cat.1.0": "merge.2",
    "conv2x.0": "head.conv1",
    "conv_2_8_32.0": "head.conv2",
}
SUFFIXES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
    "bias": "bias",
}
"""What follows a layer's name, published -> ours."""
# The published layers that fuse branches take them in another order than ours (8x, 16x, 32x).
_FUSION_ORDERS = {
    "M1": {"deep.meet": (0, 2, 1)},
    "M2": {"deep.meet": (2, 1, 0), "deep.meet_refined": (2, 1, 0)},
}
_OTHER = "is it a checkpoint of another network?"


def _rdb(published: str, ours: str, layers: int) -> Iterator[tuple[str, str]]:
    for k in range(layers):
        yield f"{published}.dense_layers.{k}.conv.{min(k, 1)}", f"{ours}.layers.{k}"
    yield f"{published}.conv_1x1.0", f"{ours}.local_fusion"


def _branch(
    index: int, stem: str, rdbs: tuple[int, ...], layers: tuple[int, ...], fusion: str, up: str
) -> Iterator[tuple[str, str]]:
    ours = f"deep.branches.{index}"
    yield f"{stem}.0.0", f"{ours}.stem.1"
    yield f"{stem}.1.0", f"{ours}.stem.2"
    for k, (number, count) in enumerate(zip(rdbs, layers, strict=True)):
        yield from _rdb(f"RDB{number}", f"{ours}.chain.blocks.{k}", count)
    yield f"{fusion}.0", f"{ours}.chain.global_fusion"
    yield f"{up}.0", f"{ours}.up.{0 if index == 0 and stem != 'conv32x' else 1}"


def published_layers(name: str) -> tuple[dict[str, str], set[str]]:
    """Published layer -> our layer, and the published layers that its forward never calls."""
    layers = dict(_SHARED)
    if name == "MO":
        layers.update(_branch(0, "conv32x", (1, 2, 3), (4, 5, 5), "rdball", "conv_rdb8x"))
        return layers, set()
    if name == "M1":
        layers["conv_rdb8x4.0"] = "deep.meet"
        branches = [
            ("conv64x", (1, 2), (4, 5), 3, 0),
            ("conv16x", (5, 6), (5, 5), 2, 2),
            ("conv32x", (3, 4), (5, 5), 1, 1),
        ]
        unused = {"conv_rdb8x3.0"}
    else:
        layers |= {
            "conv_rdb8x4.0": "deep.meet_refined",
            "conv_rdb8x5.0": "deep.meet",
            "conv_rdb8x6.0": "deep.meet_both",
        }
        branches = [
            ("conv4x", (5, 6), (5, 5), 4, 3),
            ("conv16x", (3, 4), (5, 5), 3, 2),
            ("conv32x", (1, 2), (5, 5), 2, 1),
        ]
        unused = {"conv64x.0.0", "conv64x.1.0", "conv_rdb8x0.0", "rdball1.0"}
        for index, refine in enumerate((9, 8, 7)):
            layers.update(_rdb(f"RDB{refine}", f"deep.branches.{index}.refine", 5))
    for index, (stem, rdbs, counts, fusion, up) in enumerate(branches):
        ends = (f"rdball{fusion}", f"conv_rdb8x{up}")
        layers.update(_branch(index, stem, rdbs, counts, *ends))
    return layers, unused


def load_reference_checkpoint(name: str, path: str | Path) -> DarkUNet:
    """The network of a baseline ("MO", "M1" or "M2") with its published weights, in eval mode.

    It is on the CPU. Reads both of torch's file formats, tensors saved on a GPU, and nothing but
    tensors (`weights_only`); the file holds {"model": state dict} or the state dict itself. Raises
    InputError where the file is none of these, with the names that are missing or unexpected, or
    the tensor whose shape is wrong.
    """
    if name not in BASELINES:
        raise InputError(
            f"a published checkpoint must be of {', '.join(BASELINES)}, but got {name!r}; "
            "choose one of them"
        )
    state = _read_state(Path(path), name)
    layers, unused = published_layers(name)
    model = build_model(BASELINES[name])
    expected = model.state_dict()
    converted: dict[str, Tensor] = {}
    published: dict[str, str] = {
        f"{ours}.{SUFFIXES[suffix]}": f"{theirs}.{suffix}"
        for theirs, ours in layers.items()
        for suffix in SUFFIXES
    }
    unexpected = []
    for key, tensor in state.items():
        layer, _, suffix = key.removeprefix("module.").rpartition(".")
        if layer in unused and suffix in SUFFIXES:
            continue
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise InputError(
                f"a checkpoint's weights must be real numbers, but {key:.80} in {path} is "
                f"{tensor.dtype}, {tensor.layout}; take an intact copy"
            )
        target = f"{layers.get(layer, '?')}.{SUFFIXES.get(suffix, '?')}"
        if target not in expected:
            unexpected.append(key)
            continue
        order = _FUSION_ORDERS.get(name, {}).get(layers[layer])
        if order and suffix == "weight_v" and tensor.ndim == 4:
            chunks = tensor.chunk(len(order), dim=1)
            tensor = torch.cat([chunks[k] for k in order if k < len(chunks)], dim=1)
        converted[target] = tensor.float()
    missing = [published[key] for key in expected if key not in converted]
    if missing or unexpected:
        raise InputError(
            f"a {name} checkpoint must hold exactly the published names, but {path} lacks "
            f"{_listed(missing)} and has unexpected {_listed(unexpected)}; {_OTHER}"
        )
    for key, tensor in converted.items():
        if tensor.shape != expected[key].shape:
            raise InputError(
                f"a {name} checkpoint's {published[key]} must have shape "
                f"{tuple(expected[key].shape)}, but {path} has {tuple(tensor.shape)}; {_OTHER}"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"a checkpoint's weights must be finite, but {published[key]} in {path} is not; "
                "take an intact copy"
            )
    model.load_state_dict(converted)
    return model.eval()


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of a strange file is said below
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"a checkpoint must be a file, but there is none at {path}; check the path"
        ) from None
    except IsADirectoryError:
        raise InputError(
            f"a checkpoint must be a file, but {path} is a folder; name the file in it"
        ) from None
    except Exception as error:  # of a dozen kinds, for a file that is no checkpoint
        raise InputError(
            f"a checkpoint must be written by torch.save and hold tensors only, but {path} is "
            f"damaged or holds something else ({type(error).__name__}); take an intact copy"
        ) from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(value, Tensor) for value in state.values())
    ):
        raise InputError(
            f"a {name} checkpoint must hold a state dict of tensors, bare or under 'model', but "
            f"{path} holds {type(state).__name__}; {_OTHER}"
        )
    return {str(key): value for key, value in state.items()}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more if names else "nothing"
