"""A trial's outputs in the study's artifact store: drawing, preview, curve, config and weights.

The store is the folder `artifacts` beside the trials' own, in the form of Optuna's
FileSystemArtifactStore, so that every tool of Optuna's reads it. A file there is the trial's own
under a second name (a hard link), so that the disk holds it once; where a file system can't link
it is copied. A file is whole or not there, and what a full disk raises passes through. A trial
that is killed meanwhile keeps what it had: it is repeated as another trial, with artifacts of its
own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from nas.outputs.curve import draw_curve, read_curve
from nas.outputs.drawing import draw_network
from nas.study.schema import ARTIFACTS
from space import Genome
from trials.files import replacing

DRAWING, CURVE = "drawing.svg", "curve.svg"
# What is uploaded of a trial's folder, as far as it is there.
FILES = (DRAWING, "preview.png", CURVE, "curve.csv", "genome.json", "weights.safetensors")


class LinkingStore(FileSystemArtifactStore):
    """Optuna's store in `folder`, made where it is missing, that links files where it can."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Stores the file whole; OSError for a full disk, ValueError for an id with a path."""
        path, source = self._get_filepath(artifact_id), getattr(content_body, "name", None)
        if isinstance(source, str):
            try:
                os.link(source, path)
                return
            except OSError:
                pass  # another disk, a file system without links, a full one: copying tells which
        partial = path.with_name(f".{artifact_id}")
        try:
            with partial.open("wb") as file:
                shutil.copyfileobj(content_body, file)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def upload_outputs(trial: optuna.Trial, directory: Path) -> dict[str, str]:
    """Draws and uploads the files in `directory` (RUNS/STUDY/trials/NNNN); ids by file name.

    To be called before `trial` is reported. Raises OSError for a full disk.
    """
    attrs = trial.user_attrs
    genome = Genome.from_json(attrs["genome"])
    macs = (attrs.get("cost") or {}).get("parts")
    name = attrs.get("baseline") or genome.digest[:8]
    _write(directory / DRAWING, draw_network(genome, macs, title=f"network {name}"))
    curve = read_curve(directory / "curve.csv")
    if len(curve) > 1:
        _write(directory / CURVE, draw_curve(curve, attrs.get("rungs") or ()))
    store = LinkingStore(directory.parents[1] / ARTIFACTS)
    paths = {file: directory / file for file in FILES if (directory / file).is_file()}
    return {
        file: upload_artifact(artifact_store=store, file_path=str(path), study_or_trial=trial)
        for file, path in paths.items()
    }


def shares(cost: Mapping[str, Any]) -> dict[str, float] | None:
    """Each part's share of the MACs of a stored `space.Cost`; None where it has no parts."""
    parts: dict[str, int] = cost.get("parts") or {}
    total = sum(parts.values())
    return {name: macs / total for name, macs in parts.items()} if total else None


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
