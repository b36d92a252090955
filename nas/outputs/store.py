"""What a trial leaves for those who look on: its drawing, preview, curve, config and weights, in
the study's artifact store.

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
from nas.outputs.drawing import draw_svg
from nas.outputs.layout import lay_out
from nas.study.schema import ARTIFACTS
from space import Genome
from trials.files import replacing

DRAWING, CURVE = "drawing.svg", "curve.svg"
# What is uploaded of a trial's folder, as far as it is there.
FILES = (DRAWING, "preview.png", CURVE, "curve.csv", "genome.json", "weights.safetensors")


class LinkingStore(FileSystemArtifactStore):
    """Optuna's store in `folder`, made where it is missing, that links files instead of copying
    them where it can.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Puts the file there, whole; raises OSError where the disk won't take it, ValueError for
        an id that leads elsewhere.
        """
        path, source = self._get_filepath(artifact_id), getattr(content_body, "name", None)
        if isinstance(source, str):
            try:
                os.link(source, path)
                return
            except (
                OSError
            ):  # another disk, a file system without links, a full one: copying tells which
                pass
        beside = path.with_name(f".{artifact_id}")
        try:
            with beside.open("wb") as file:
                shutil.copyfileobj(content_body, file)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


def leave(trial: optuna.Trial, directory: Path) -> dict[str, str]:
    """Draws what can be drawn of `trial`, whose files lie in `directory` (RUNS/STUDY/trials/NNNN),
    and uploads all.

    To be called before it is told. Gives back the artifacts' ids by file name. Raises OSError for
    a full disk.
    """
    attrs = trial.user_attrs
    genome = Genome.from_json(attrs["genome"])
    macs = (attrs.get("cost") or {}).get("parts")
    name = attrs.get("baseline") or genome.digest[:8]
    _write(directory / DRAWING, draw_svg(lay_out(genome, macs), title=f"network {name}"))
    curve = read_curve(directory / "curve.csv")
    if len(curve) > 1:
        _write(directory / CURVE, draw_curve(curve, attrs.get("rungs") or ()))
    store = LinkingStore(directory.parents[1] / ARTIFACTS)
    return {
        file: upload_artifact(
            artifact_store=store, file_path=str(directory / file), study_or_trial=trial
        )
        for file in FILES
        if (directory / file).is_file()
    }


def shares(cost: Mapping[str, Any]) -> dict[str, float] | None:
    """Each part's share of the MACs of a `cost` (space.Cost as a dictionary); None where it
    doesn't tell its parts.
    """
    parts: dict[str, int] = cost.get("parts") or {}
    total = sum(parts.values())
    return {name: macs / total for name, macs in parts.items()} if total else None


def _write(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")
