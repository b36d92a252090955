"""A small study and its command, ready to run in a folder of the test's own."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from stand_ins import Command, Loader, Measure, Runner

from nas import cli, search
from nas.study.storage import default_url

TINY = """
trials = 5
[data]
scenes = 4
scene_size = 128
held_out = 2
[train]
steps = 20
batch = 1
crop = 64
[latency]
height = 64
width = 64
threads = 1
max_seconds = 0.5
front_seconds = 0.5
"""


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """SQLite needn't outlive a power cut in tests: twice as fast."""

    def relax(connection: Any, record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            with contextlib.suppress(sqlite3.Error):
                connection.execute("PRAGMA synchronous=OFF")

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "connect", relax)
    yield
    sqlalchemy.event.remove(sqlalchemy.engine.Engine, "connect", relax)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study of small numbers, as a TOML file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run_search(tiny: Path, runs: Path) -> Command:
    """`nas.search` on the tiny study with stand-ins for data and training; gives back the exit
    status.
    """

    def run(*flags: object, runner: Any = None, load: Any = None, measure: Any = None) -> int:
        words = ["--study", tiny, "--runs", runs, "--device", "cpu", *flags]
        return cli.run(
            lambda argv: search.main(
                argv,
                runner=runner or Runner(),
                load=load or Loader(),
                measure=measure or Measure(),
            ),
            [str(w) for w in words],
        )

    return run


@pytest.fixture
def read_study(runs: Path) -> Callable[[], optuna.Study]:
    """The tiny study as it is stored."""
    return lambda: optuna.load_study(study_name="tiny", storage=default_url(runs / "tiny"))
