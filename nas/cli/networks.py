"""What a command's `NAME|FILE|FOLDER` means: a genome, and a network with its weights.

A folder is a trial's (genome.json) or an export's (model.json); both hold weights.safetensors. It
may come from anyone, so no file outside of it is read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from space import BASELINES, FOUND, Genome, InputError, NetworkInput
from space.files.export_format import (
    MODEL,
    WEIGHTS,
    is_saved,
    load_saved,
    load_weights,
    read_saved,
)
from space.files.network_input import PUBLISHED
from space.files.safe_path import inside

if TYPE_CHECKING:
    from space import DarkUNet

GENOME = "genome.json"
# The networks that have names: the published ones, and those that this project found.
NAMED = {**BASELINES, **{name: found.genome for name, found in FOUND.items()}}


def read_genome(text: str) -> Genome:
    """The genome of a name (MO, F1 ...), a JSON file, or a folder; InputError for all else."""
    if text in NAMED:
        return NAMED[text]
    path = Path(text)
    if path.name == MODEL and os.path.isfile(path):
        path = path.parent
    if is_saved(path):
        return read_saved(path).genome
    if os.path.isdir(path):
        path = inside(path, GENOME, "a trial's file")
    if not os.path.isfile(path):
        raise InputError(
            f"a network must be {', '.join(NAMED)}, a genome's JSON file or a trial's folder, but "
            f"there is no {path}; check the path"
        )
    try:
        return Genome.from_json(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"a genome must be a readable file of JSON in UTF-8, but {path} is not ({error}); "
            "take an intact copy"
        ) from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network with weights, and the input that they want."""

    name: str
    model: DarkUNet
    input: NetworkInput


def load_network(text: str, weights: str | None) -> Network:
    """The network that `text` means, in eval mode on the CPU.

    `weights` is a published checkpoint (of MO, M1 or M2) or a weights.safetensors; without it,
    `text` must be a trial's or an export's folder. Raises InputError where the weights are
    missing, damaged or another network's.
    """
    genome = read_genome(text)
    if weights is None:
        folder = Path(text)
        if not os.path.isdir(folder):
            raise InputError(
                f"a network needs weights, but {text} has none; give --weights FILE, or a trial's "
                "folder as the model (nas.retrain makes one)"
            )
        if is_saved(folder):
            saved, model = load_saved(folder)
            return Network(name=genome.digest[:8], model=model, input=saved.input)
        if not inside(folder, WEIGHTS, "a trial's file").is_file():
            raise InputError(
                f"a trial's folder must hold {WEIGHTS}, but {folder} does not: was the trial "
                "stopped before its end? choose a complete one"
            )
        weights = str(folder / WEIGHTS)
    if not weights.endswith(".safetensors"):
        from space import load_reference_checkpoint

        if text not in BASELINES:
            raise InputError(
                f"only MO, M1 and M2 have published checkpoints, but got {weights} for {text}; "
                f"give a {WEIGHTS}"
            )
        model = load_reference_checkpoint(text, weights)
        return Network(name=text, model=model, input=PUBLISHED)
    model, metadata = load_weights(genome, Path(weights))
    name = text if text in NAMED else genome.digest[:8]
    return Network(name=name, model=model, input=NetworkInput.from_metadata(metadata))
