"""The database file: what was stored is in it at once, and how its URL is shown and checked."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import optuna
import pytest

from nas.study.internals import database_of, storage_of, study_id, trial_id
from nas.study.storage import (
    MOST_SQLITE_WORKERS,
    check_workers,
    mask_password,
    open_storage,
    storage_error,
)
from space import InputError


def test_a_copy_of_the_file_alone_holds_every_finished_trial(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.create_study(
        study_name="s", storage=storage, directions=["maximize", "minimize"]
    )
    for number in range(5):
        study.tell(study.ask(), [float(number), 1.0])
        shutil.copy(tmp_path / "study.db", tmp_path / "copy.db")
        copied = open_storage(f"sqlite:///{tmp_path}/copy.db")
        there = optuna.load_study(study_name="s", storage=copied).trials
        assert [trial.values for trial in there] == [[float(k), 1.0] for k in range(number + 1)]
        copied.engine.dispose()
        for path in tmp_path.glob("copy.db*"):
            path.unlink()


def test_processes_that_open_a_fresh_file_at_the_same_time_all_get_it(tmp_path: Path) -> None:
    got: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: got.append(
                len(open_storage(f"sqlite:///{tmp_path}/study.db").get_all_studies())
            )
        )
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [0] * 6


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("sqlite:////home/a b/study.db", "sqlite:////home/a b/study.db"),
        ("sqlite:////home/a@b/c@d.db", "sqlite:////home/a%40b/c%40d.db"),
        ("postgresql+psycopg://nas@host/db", "postgresql+psycopg://nas@host/db"),
        ("postgresql://nas:p%40ss@host:5432/db", "postgresql://nas:***@host:5432/db"),
        (
            "postgresql://nas@host/db?sslmode=require&password=p%26q",
            "postgresql://nas@host/db?password=***&sslmode=require",
        ),
        # Passwords that should have been percent-encoded.
        ("postgresql://nas:p@ss/word@host/db", "postgresql://nas:***@host/db"),
        ("postgresql://nas:p@ss?w=rd@host/db", "postgresql://nas:***@host/db"),
        ("postgresql://nas:p?s#/@host/db", "postgresql://nas:***@host/db"),
        ("postgresql://nas@home:p@host/db", "postgresql://nas@home:***@host/db"),
        ("postgresql://nas:p:q@ss:word@host/db", "(a URL that can't be read)"),
        ("dbname=db password=word", "(a URL that can't be read)"),
        ("no url", "no url"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, seen: str) -> None:
    assert mask_password(url) == seen


@pytest.mark.parametrize(
    "spelling", ["p@ss/w'ord", "p%40ss/w%27ord", "p%40ss%2Fw%27ord", "p@ss/w\\'ord"]
)
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nas:p%40ss%2Fw'ord@host/db",
        "postgresql://nas@host/db?password=p%40ss%2Fw'ord",
    ],
)
def test_a_driver_that_repeats_the_password_is_silenced(url: str, spelling: str) -> None:
    told = str(
        storage_error(
            RuntimeError(f"bad connection option: user=nas password={spelling} dbname=db"), url
        )
    )
    assert "user=nas password=*** dbname=db" in told and "ss" not in told.replace("password", "")


def test_more_workers_than_a_file_bears_are_refused_with_what_to_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    check_workers(url, MOST_SQLITE_WORKERS)
    check_workers("postgresql+psycopg://nas@host/db", 500)
    with pytest.raises(
        InputError, match=f"at most {MOST_SQLITE_WORKERS} workers, not 500; .*postgresql"
    ):
        check_workers(url, 500)


def test_the_private_members_of_optuna_are_what_we_take_them_for(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}/study.db")
    optuna.create_study(study_name="other", storage=storage).ask()
    study = optuna.create_study(study_name="s", storage=storage)
    trial = study.ask()
    assert database_of(study) is storage and database_of(optuna.create_study()) is not None
    assert storage_of(study).get_study_name_from_id(study_id(study)) == "s"
    for one in (trial, study.trials[0]):
        assert storage.get_trial(trial_id(one)).number == 0 and trial_id(one) != 0
