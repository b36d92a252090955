"""Reads the published MO, M1 and M2 checkpoints into the seeds' networks.

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

# Published name -> ours, without ".weight_g", ".weight_v" and ".bias". Branches are ours, from
# fine to coarse.
_SHARED = {
    "resblock8x.conv1.0": "skip.0.conv1",
    "resblock8x.conv2.0": "skip.0.conv2",
    "conv32_8_cat.0.0": "merge.1",
    "conv32_8_cat.1.0": "merge.2",
    "conv2x.0": "head.conv1",
    "conv_2_8_32.0": "head.conv2",
}


def _rdb(published: str, ours: str, layers: int) -> Iterator[tuple[str, str]]:
    for k in range(layers):
        yield f"{published}.dense_layers.{k}.conv.{min(k, 1)}", f"{ours}.layers.{k}"
    yield f"{published}.conv_1x1.0", f"{ours}.local_fusion"


def _branch(
    index: int, *, stem: str, rdbs: list[tuple[str, int]], fusion: str, up: str
) -> Iterator[tuple[str, str]]:
    ours = f"deep.branches.{index}"
    yield f"{stem}.0.0", f"{ours}.stem.1"
    yield f"{stem}.1.0", f"{ours}.stem.2"
    for k, (name, layers) in enumerate(rdbs):
        yield from _rdb(name, f"{ours}.chain.blocks.{k}", layers)
    yield f"{fusion}.0", f"{ours}.chain.global_fusion"
    yield f"{up}.0", f"{ours}.up.{0 if index == 0 and stem != 'conv32x' else 1}"


def _names(seed: str) -> tuple[dict[str, str], set[str]]:
    """Published layer -> our layer, and the published layers that its forward never calls."""
    names = dict(_SHARED)
    if seed == "MO":
        rdbs = [("RDB1", 4), ("RDB2", 5), ("RDB3", 5)]
        names.update(_branch(0, stem="conv32x", rdbs=rdbs, fusion="rdball", up="conv_rdb8x"))
        return names, set()
    if seed == "M1":
        names["conv_rdb8x4.0"] = "deep.meet"
        parts = [
            ("conv64x", (1, 2), (4, 5), 3, 0),
            ("conv16x", (5, 6), (5, 5), 2, 2),
            ("conv32x", (3, 4), (5, 5), 1, 1),
        ]
        unused = {"conv_rdb8x3.0"}
    else:
        names |= {
            "conv_rdb8x4.0": "deep.meet_refined",
            "conv_rdb8x5.0": "deep.meet",
            "conv_rdb8x6.0": "deep.meet_both",
        }
        parts = [
            ("conv4x", (5, 6), (5, 5), 4, 3),
            ("conv16x", (3, 4), (5, 5), 3, 2),
            ("conv32x", (1, 2), (5, 5), 2, 1),
        ]
        unused = {"conv64x.0.0", "conv64x.1.0", "conv_rdb8x0.0", "rdball1.0"}
        for index, refine in enumerate((9, 8, 7)):
            names.update(_rdb(f"RDB{refine}", f"deep.branches.{index}.refine", 5))
    for index, (stem, numbers, layers, fusion, up) in enumerate(parts):
        rdbs = [(f"RDB{number}", n) for number, n in zip(numbers, layers, strict=True)]
        names.update(
            _branch(index, stem=stem, rdbs=rdbs, fusion=f"rdball{fusion}", up=f"conv_rdb8x{up}")
        )
    return names, unused


# The published layers in which branches meet take them in another order than ours (8x, 16x, 32x).
_MEETS = {
    "M1": {"deep.meet": (0, 2, 1)},
    "M2": {"deep.meet": (2, 1, 0), "deep.meet_refined": (2, 1, 0)},
}
_SUFFIXES = {
    "weight_g": "parametrizations.weight.original0",
    "weight_v": "parametrizations.weight.original1",
    "bias": "bias",
}


def load_reference_checkpoint(name: str, path: str | Path) -> DarkUNet:
    """The network of a seed ("MO", "M1" or "M2") with its published weights, in eval mode, on the
    CPU.

    Reads both of torch's file formats, tensors saved on a GPU, and nothing but tensors
    (`weights_only`); the file holds {"model": state dict} or the state dict itself. Raises
    InputError where the file is none of these, with the names that are missing or unexpected, or
    the tensor whose shape is wrong.
    """
    if name not in BASELINES:
        raise InputError(
            f"a published checkpoint must be of {', '.join(BASELINES)}, but got {name!r}; "
            f"choose one of them"
        )
    state = _read_state(Path(path), name)
    names, unused = _names(name)
    model = build_model(BASELINES[name])
    wanted = model.state_dict()
    ours: dict[str, Tensor] = {}
    unexpected = []
    for key, tensor in state.items():
        layer, _, suffix = key.removeprefix("module.").rpartition(".")
        if layer in unused and suffix in _SUFFIXES:
            continue
        if not tensor.is_floating_point() or tensor.layout != torch.strided:
            raise InputError(
                f"a checkpoint's weights must be real numbers, but {key:.80} in {path} is "
                f"{tensor.dtype}, "
                f"{tensor.layout}; take an intact copy"
            )
        target = f"{names.get(layer, '?')}.{_SUFFIXES.get(suffix, '?')}"
        if target not in wanted:
            unexpected.append(key)
            continue
        order = _MEETS.get(name, {}).get(names[layer])
        if order and suffix == "weight_v" and tensor.ndim == 4:
            blocks = tensor.chunk(len(order), dim=1)
            tensor = torch.cat([blocks[k] for k in order if k < len(blocks)], dim=1)
        ours[target] = tensor.float()
    published = {ours_: theirs for theirs, ours_ in names.items()}
    missing = [_published_name(key, published) for key in wanted if key not in ours]
    if missing or unexpected:
        raise InputError(
            f"a {name} checkpoint must hold exactly the published names, but {path} lacks "
            f"{_listed(missing)} and has unexpected {_listed(unexpected)}; "
            "is it a checkpoint of another network?"
        )
    for key, tensor in ours.items():
        if tensor.shape != wanted[key].shape:
            raise InputError(
                f"a {name} checkpoint's {_published_name(key, published)} must have shape "
                f"{tuple(wanted[key].shape)}, but {path} has {tuple(tensor.shape)}; "
                "is it a checkpoint of another network?"
            )
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"a checkpoint's weights must be finite, but "
                f"{_published_name(key, published)} in {path} "
                "is not; take an intact copy"
            )
    model.load_state_dict(ours)
    return model.eval()


def _read_state(path: Path, name: str) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # what torch has to say about a strange file is said below
            loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(
            f"a checkpoint must be a file, but there is none at {path}; check the path"
        ) from None
    except IsADirectoryError:
        raise InputError(
            f"a checkpoint must be a file, but {path} is a folder; name the file in it"
        ) from None
    # whatever the reader meets in a file that is none: its own errors are of a dozen kinds
    except Exception as error:
        raise InputError(
            f"a checkpoint must be written by torch.save and hold tensors only, but "
            f"{path} is damaged or "
            f"holds something else ({type(error).__name__}); take an intact copy"
        ) from error
    state = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(value, Tensor) for value in state.values())
    ):
        raise InputError(
            f"a {name} checkpoint must hold a state dict of tensors, bare or under "
            f"'model', but {path} "
            f"holds {type(state).__name__}; is it a checkpoint of another network?"
        )
    return {str(key): value for key, value in state.items()}


def _published_name(key: str, published: dict[str, str]) -> str:
    for ours, theirs in _SUFFIXES.items():
        layer = key.removesuffix("." + theirs)
        if layer != key and layer in published:
            return f"{published[layer]}.{ours}"
    return key


def _listed(names: list[str]) -> str:
    if not names:
        return "nothing"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
