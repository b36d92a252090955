"""A study in a real PostgreSQL server, started by the test in a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator

import optuna
import pytest
from servers import PASSWORD, SERVERS, Server, postgresql
from stand_ins import Command

from nas.results import finished, read_rows
from nas.storage import open_storage

__all__ = ["SERVERS", "Server"]  # the soak test takes them from here


@pytest.fixture
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


def test_a_study_lives_in_postgresql_and_goes_on(server: Server, run_search: Command, capfd: pytest.CaptureFixture) -> None:
    assert run_search("--storage", server.url, "--trials", 4) == 0
    assert run_search("--storage", server.url, "--trials", 6) == 0
    out, err = capfd.readouterr()
    assert "resuming: 4 of 6 trials finished" in out
    study = optuna.load_study(study_name="tiny", storage=open_storage(server.url))
    rows = read_rows(study)
    assert finished(rows) == 6 and [row.seed for row in rows[:3]] == ["MO", "M1", "M2"]
    assert PASSWORD not in out + err
    assert PASSWORD not in str(study.user_attrs) + str([trial.user_attrs for trial in study.trials])


def test_a_server_that_is_down_is_told_and_nothing_is_lost(
    server: Server, run_search: Command, capfd: pytest.CaptureFixture
) -> None:
    assert run_search("--storage", server.url, "--trials", 4) == 0
    server.stop()
    capfd.readouterr()
    assert run_search("--storage", server.url, "--trials", 6) == 2
    told = capfd.readouterr().err
    assert told.startswith("error: storage postgresql+psycopg://nas:***@127.0.0.1") and told.count("\n") == 1
    assert PASSWORD not in told
    server.start()
    assert run_search("--storage", server.url, "--trials", 6) == 0
    assert "resuming: 4 of 6 trials finished" in capfd.readouterr().out
