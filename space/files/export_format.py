"""A network as a folder that stands alone: model.json describes it, weights.safetensors holds it.

weights.safetensors is as trained, weight norm unfolded, so that it can be trained on; its genome
is in its metadata. model.json has
- schema: number of this format (1); name, digest, genome
- input: shape, cfa, size_multiple, white_balanced, black_corrected, and the steps from a raw
  file to it
- output: shape and range; weights: their file, its SHA-256 and its form
- what the exporter adds: quality, latency, cost, training, provenance, onnx

nas.export adds model.onnx, and README.md with its pictures. Reading needs neither Optuna nor
rawpy; torch only for the weights. A folder may come from anyone: nothing in it is run, no file
outside of it is read, and weights that are not those that were written are refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from space.errors import InputError, brief
from space.files.network_input import NetworkInput
from space.files.safe_path import inside
from space.genome import Genome, read_json

if TYPE_CHECKING:
    from torch import Tensor

    from space.model import DarkUNet

SCHEMA = 1
MODEL, WEIGHTS = "model.json", "weights.safetensors"
# Amplifications that networks are trained for: the exposure ratios of SID end at 300.
AMPLIFICATIONS = (1, 300)
# Characters of a network's name.
LONGEST_NAME = 200
_NUMBERS = {"dtype": "float32", "range": [0.0, 1.0]}


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What a folder's model.json says; `description` is all of it, as plain JSON values."""

    name: str
    genome: Genome
    input: NetworkInput
    description: dict[str, Any]


def is_saved(folder: str | Path) -> bool:
    """Whether `folder` claims to hold a saved network: there is a model.json in it."""
    return os.path.isfile(Path(folder) / MODEL)


def describe_input(genome: Genome, network_input: NetworkInput) -> dict[str, Any]:
    """The `input` of model.json: shape, range, and how a raw file becomes it, step by step."""
    balance = "multiply by the camera's white balance as shot, its smallest gain taken as 1"
    error = "subtract the error of the camera's black level at this ISO, where it is calibrated"
    low, high = AMPLIFICATIONS
    return {
        "name": "mosaic",
        "shape": "1 1 H W",
        **_NUMBERS,
        "cfa": "RGGB",
        "size_multiple": genome.size_multiple,
        "white_balanced": network_input.white_balanced,
        "black_corrected": network_input.black_corrected,
        "amplification": [low, high],
        "steps": [
            "start with a red pixel: crop a row or a column from mosaics of another Bayer phase",
            "subtract the black level of each colour",
            *([error] if network_input.black_corrected else []),
            "divide by the white level minus the black level",
            "cut off below 0",
            *([balance] if network_input.white_balanced else []),
            f"multiply by the amplification ({low} to {high}; of a pair, the exposure ratio)",
            "cut off above 1",
        ],
        "padding": f"H and W must be multiples of {genome.size_multiple}: mirror about the last "
        "row and column, crop the output",
    }


def save(
    folder: Path,
    model: DarkUNet,
    *,
    name: str,
    network_input: NetworkInput,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes `model` (as trained, not folded) into `folder`, which must exist; model.json last.

    `more` are further keys of model.json, plain JSON values. Raises InputError for a folded model,
    whose weights no genome could take.
    """
    from safetensors.torch import save_file

    from space.model import build_model

    genome = model.genome
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
    if state.keys() != build_model(genome).state_dict().keys():
        raise InputError(
            "a network must be saved as it was trained, but this one is folded; save the one it "
            "was folded from"
        )
    metadata = {"genome": genome.to_json(), **network_input.metadata()}
    save_file(state, folder / WEIGHTS, metadata=metadata)
    description = {
        "schema": SCHEMA,
        "name": name,
        "digest": genome.digest,
        "genome": genome.to_dict(),
        "input": describe_input(genome, network_input),
        "output": {"name": "rgb", "shape": "1 3 H W", **_NUMBERS, "colour": "sRGB"},
        "weights": {
            "file": WEIGHTS,
            "sha256": _sha256(folder / WEIGHTS),
            "form": "as trained: weight norm unfolded (space.load_model folds it)",
        },
        **(more or {}),
    }
    text = json.dumps(description, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / MODEL).write_text(text + "\n", encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_saved(folder: str | Path) -> Saved:
    """What the model.json in `folder` says; InputError where it is missing, newer or damaged."""
    path = inside(Path(folder), MODEL, "an export's file")
    again = "export the network again"
    if not os.path.isfile(path):
        raise InputError(
            f"{folder} must be a folder that nas.export wrote, but there is no {path}; "
            "check the path"
        )
    try:
        values = read_json(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} must be JSON, but reading it gave: {error}; {again}") from error
    if not isinstance(values, dict) or "schema" not in values:
        raise InputError(
            f"{path} must describe a network that nas.export wrote, but holds no schema; "
            "check the path"
        )
    schema = values["schema"]
    if type(schema) is not int or schema != SCHEMA:
        raise InputError(
            f"{path}: schema must be {SCHEMA}, but got {brief(schema)}; upgrade this version"
        )
    try:
        genome = Genome.from_dict(values.get("genome", {}))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    given = values.get("input")
    given = given if isinstance(given, dict) else {}
    # Exports of earlier releases lack what their networks did not get.
    flags = [given.get("white_balanced"), given.get("black_corrected", False)]
    for name, flag in zip(("white_balanced", "black_corrected"), flags, strict=True):
        if not isinstance(flag, bool):
            raise InputError(
                f"{path}: input.{name} must be true or false, but got {brief(flag)}; {again}"
            )
    network_input = NetworkInput(white_balanced=flags[0], black_corrected=flags[1])
    if values.get("digest") != genome.digest:
        raise InputError(
            f"{path}: digest must be that of its genome ({genome.digest}), but got "
            f"{brief(values.get('digest'))}; the file was changed: {again}"
        )
    name = values.get("name") or genome.digest[:8]
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(
            f"{path}: name must be a text of one line and at most {LONGEST_NAME} characters, but "
            f"got {brief(name)}; change it"
        )
    return Saved(name=name, genome=genome, input=network_input, description=values)


def load_model(folder: str | Path, *, trainable: bool = False) -> DarkUNet:
    """The network in a folder that nas.export wrote, on the CPU: mosaic b 1 H W -> sRGB b 3 H W.

    Both are in [0, 1]. It comes folded and in eval mode, ready to run (`space.restore(model,
    mosaic)` takes any even size); with `trainable` as it was trained, weight norm on and in
    training mode. Raises InputError for a folder that is no export, and for weights that are
    damaged or another network's.
    """
    from space.model import fold

    model = load_saved(folder)[1]
    return model.train() if trainable else fold(model)


def load_saved(folder: str | Path) -> tuple[Saved, DarkUNet]:
    """(what model.json says, the network as trained, in eval mode); raises as `load_model`."""
    saved = read_saved(folder)
    path = inside(Path(folder), WEIGHTS, "an export's file")
    described = saved.description.get("weights", {})
    if not isinstance(described, dict) or described.get("file", WEIGHTS) != WEIGHTS:
        raise InputError(
            f"{folder}: {MODEL} must name its weights {WEIGHTS}, but has {brief(described)}; "
            "export the network again"
        )
    model, metadata = load_weights(saved.genome, path)
    # An intact file of weights may lack them: those of earlier releases do.
    stated = {**saved.input.metadata(), **metadata}
    if NetworkInput.from_metadata(stated) != saved.input:
        raise InputError(
            f"{folder}: {MODEL} and {WEIGHTS} must agree on the input, but one says "
            f"{saved.input} and the other {NetworkInput.from_metadata(stated)}; export the "
            "network again"
        )
    if described.get("sha256", digest := _sha256(path)) != digest:
        raise InputError(
            f"the weights must be those that were exported, but {path} was changed since (its "
            f"SHA-256 is not that in {MODEL}); take an intact copy"
        )
    return saved, model


def load_weights(genome: Genome, path: Path) -> tuple[DarkUNet, dict[str, str]]:
    """(network in eval mode on the CPU, the file's metadata) of a weights.safetensors.

    Raises InputError where the file is missing, damaged or another network's.
    """
    from space.model import build_model

    metadata, state = _read_weights(path)
    if "genome" in metadata:
        try:
            written_for = Genome.from_json(metadata["genome"])
        except InputError as error:
            raise InputError(
                f"{path} must hold the genome of its network, but: {error}; take an intact copy"
            ) from error
        if written_for != genome:
            raise InputError(
                f"the weights must be of the network that is requested ({genome.digest[:8]}), but "
                f"{path} is of {written_for.digest[:8]}; give its own genome"
            )
    model = build_model(genome)
    expected = model.state_dict()
    if {name: tensor.shape for name, tensor in expected.items()} != {
        name: tensor.shape for name, tensor in state.items()
    }:
        raise InputError(
            f"the weights must fit the network ({genome.digest[:8]}), but {path} has other names "
            "or shapes; give its own genome"
        )
    for name, tensor in state.items():
        if tensor.dtype != expected[name].dtype:
            form = f"{expected[name].dtype}, but {name} in {path} is {tensor.dtype}"
            raise InputError(f"weights must be {form}; take an intact copy")
        if not tensor.isfinite().all():
            raise InputError(
                f"weights must be finite numbers, but some of {name} in {path} are not; take an "
                "intact copy"
            )
    model.load_state_dict(state)
    return model.eval(), metadata


def _read_weights(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """(metadata, tensors by name) of a safetensors file; InputError where it can't be read."""
    from safetensors import SafetensorError, safe_open

    if not os.path.isfile(path):
        raise InputError(f"weights must be a file, but there is none at {path}; check the path")
    # Its own error, or what torch says of sizes and types that a damaged header makes up.
    damaged = (SafetensorError, OSError, RuntimeError, ValueError, TypeError, KeyError)
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())  # a file of safetensors can't be iterated itself
            return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in names}
    except (*damaged, AttributeError) as error:
        raise InputError(
            f"weights must be a whole safetensors file, but {path} is not ({error}); take an "
            "intact copy"
        ) from error


def check_place(folder: Path, *, force: bool) -> None:
    """InputError unless `folder` is new, empty or, with `force`, holds a saved network."""
    rule = "the output must be a new folder, but"
    parent = next((parent for parent in folder.absolute().parents if parent.exists()), folder)
    if not parent.is_dir():
        raise InputError(f"{rule} {parent} is a file; give another --out")
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        if not is_saved(folder):
            raise InputError(
                f"{rule} {folder} is there and is no export, so that it is never overwritten; "
                "give another --out"
            )
        if not force:
            raise InputError(
                f"{rule} {folder} holds a network; give another --out, or --force to replace it"
            )


@contextlib.contextmanager
def new_folder(folder: Path, *, force: bool = False) -> Iterator[Path]:
    """Yields a folder to write to, renamed to `folder` at the end, which is whole or not there.

    With `force` it takes the place of a saved network. A block that raises leaves nothing behind,
    and what was there before as it was. Raises InputError as `check_place`.
    """
    check_place(folder, force=force)
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = partial.with_name(partial.name + ".old")
    try:
        yield partial
        mask = os.umask(0o022)
        os.umask(mask)
        partial.chmod(0o777 & ~mask)  # mkdtemp keeps its folders to itself
        for path in partial.iterdir():
            path.chmod(0o666 & ~mask)
        check_place(folder, force=force)  # another may have come first
        if is_saved(folder):
            folder.rename(old)
        partial.rename(folder)  # takes the place of an empty folder too
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        if old.is_symlink():
            old.unlink()  # the folder was a link: what it led to is another's
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(partial, ignore_errors=True)
