"""The files of trials (preview, drawing, curve ...), read from a study's artifact store.

The store is a folder of files named by the ids that the trials hold. It may have been moved,
thinned out or never written: nothing is raised for that, what could not be read is counted.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from dashboards.study.records import Record
from nas.study.schema import ARTIFACTS

PREVIEW, DRAWING, CURVE = "preview.png", "drawing.svg", "curve.csv"
# What a viewer shows of a trial: one, and many.
WORDS = {PREVIEW: "picture", DRAWING: "drawing", CURVE: "training curve"}
# An id names a file in the store and nothing outside of it, whatever a database says.
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class Artifacts:
    """The artifacts in `folder`, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: Counter[str] = Counter()  # by name: those that the folder lacks

    def read(self, record: Record, name: str) -> bytes | None:
        """The file `name` of a trial; None where it has none or it can't be read."""
        artifact_id = record.artifacts.get(name)
        if artifact_id is None:
            return None
        try:
            if not _ID.fullmatch(artifact_id):
                raise OSError(f"{artifact_id!r} is no artifact's id")
            return (self.folder / artifact_id).read_bytes()
        except OSError:
            self.unreadable[name] += 1
            return None

    def text(self, record: Record, name: str) -> str | None:
        """The same as text; None where it isn't UTF-8 either."""
        data = self.read(record, name)
        try:
            return None if data is None else data.decode("utf-8")
        except UnicodeDecodeError:
            self.unreadable[name] += 1
            return None

    def missing(self, records: Iterable[Record]) -> list[str]:
        """What is missing, after all was read: one sentence each; empty where all is there."""
        networks = [record for record in records if record.is_point]
        if not networks:
            return []
        if not any(record.artifacts for record in networks):
            return [
                "This study was made by a version that stored none of its pictures and drawings."
            ]
        if self.unreadable and not self.folder.is_dir():
            lost = f"Pictures and drawings are missing: there is no folder {self.folder}"
            return [f"{lost}; give it by --artifacts."]
        sentences = [
            f"{count} {WORDS.get(name, name)}{'s' * (count > 1)} could not be read from "
            f"{self.folder}."
            for name, count in self.unreadable.items()
        ]
        for name in (PREVIEW, DRAWING):
            lacking = sum(name not in record.artifacts for record in networks)
            if lacking:
                sentences.append(f"{lacking} of {len(networks)} networks have no {WORDS[name]}.")
        return sentences


def artifacts_folder(study: str, runs: Path, storage: str | None) -> Path:
    """A study's artifacts by default: next to the SQLite file `storage`, else in its folder."""
    with contextlib.suppress(ArgumentError, ValueError):  # open_study explains a bad URL
        url = make_url(storage or "sqlite://")
        if url.get_backend_name() == "sqlite" and url.database and "uri" not in url.query:
            folder = Path(url.database).parent / ARTIFACTS
            if folder.is_dir():
                return folder
    return runs / study / ARTIFACTS
