"""The files that trials left (preview, drawing, curve ...), read from a study's artifact store;
those that are missing are told.

The store is a folder of files named by the ids that the trials hold. It may have been moved,
thinned out or never written: nothing is raised for that, what could not be read is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy.engine import make_url

from dashboards.study.reader import ARTIFACTS
from dashboards.study.records import Record

PREVIEW, DRAWING, CURVE = "preview.png", "drawing.svg", "curve.csv"
# What a viewer shows of a trial, in words.
WORDS = {PREVIEW: "pictures", DRAWING: "drawings", CURVE: "training curves"}
# An id names a file in the store and nothing beside it, whatever a database says.
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")


class Artifacts:
    """The artifacts in `folder`, which need not exist. `unreadable` counts those that a trial
    names but the folder lacks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unreadable: dict[str, int] = {}

    def read(self, record: Record, name: str) -> bytes | None:
        """The file `name` of a trial; None where it has none or it can't be read."""
        found = record.artifacts.get(name)
        if found is None:
            return None
        try:
            if not _ID.fullmatch(found):
                raise OSError(f"{found!r} is no artifact's id")
            return (self.folder / found).read_bytes()
        except OSError:
            self.unreadable[name] = self.unreadable.get(name, 0) + 1
            return None

    def text(self, record: Record, name: str) -> str | None:
        """The same as text; None where it isn't UTF-8 either."""
        data = self.read(record, name)
        try:
            return None if data is None else data.decode("utf-8")
        except UnicodeDecodeError:
            self.unreadable[name] = self.unreadable.get(name, 0) + 1
            return None

    def told(self, records: Iterable[Record]) -> list[str]:
        """What is missing, after all was read: one sentence each; empty where all is there."""
        networks = [record for record in records if record.is_point]
        if not networks:
            return []
        if not any(record.artifacts for record in networks):
            return [
                "This study's trials stored no pictures and no drawings: it was made by a "
                "version that left none."
            ]
        lost = {name: count for name, count in self.unreadable.items() if count}
        if lost and not self.folder.is_dir():
            return [
                f"Pictures and drawings are missing: there is no folder {self.folder}; "
                f"give it by --artifacts."
            ]
        said = [
            f"{count} {_words(name, count)} could not be read from {self.folder}."
            for name, count in lost.items()
        ]
        for name in (PREVIEW, DRAWING):
            none = sum(name not in record.artifacts for record in networks)
            if none:
                said.append(f"{none} of {len(networks)} networks left no {_words(name, 1)}.")
        return said


def _words(name: str, count: int) -> str:
    many = WORDS.get(name, name)
    return many.removesuffix("s") if count == 1 else many


def artifacts_folder(study: str, runs: Path, storage: str | None) -> Path:
    """Where a study's artifacts lie by default: beside its SQLite file where `storage` names one,
    else in its folder.
    """
    if storage is not None:
        try:
            url = make_url(storage)
        except Exception:  # reading.open_storage tells what is wrong with it
            return runs / study / ARTIFACTS
        if url.get_backend_name() == "sqlite" and url.database and "uri" not in url.query:
            beside = Path(url.database).parent / ARTIFACTS
            if beside.is_dir():
                return beside
    return runs / study / ARTIFACTS
