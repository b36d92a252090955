"""The database file: what was told is in it at once, also for a copy made while a search runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna

from nas.storage import open_storage


def test_a_copy_of_the_file_alone_holds_every_told_trial(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(study_name="s", storage=storage, directions=["maximize", "minimize"])
    for number in range(5):
        study.tell(study.ask(), [float(number), 1.0])
        shutil.copy(tmp_path / "study.db", tmp_path / "copy.db")
        copied = open_storage(f"sqlite:///{tmp_path}/copy.db")
        there = optuna.load_study(study_name="s", storage=copied).trials
        assert [trial.values for trial in there] == [[float(k), 1.0] for k in range(number + 1)]
        copied.engine.dispose()
        for path in tmp_path.glob("copy.db*"):
            path.unlink()
