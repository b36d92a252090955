"""A study in a real PostgreSQL server, started by the test in a folder of its own, stopped and
started again.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from urllib.parse import quote

import optuna
import pytest
import servers
from servers import (
    PASSWORD,
    SERVERS,
    Searches,
    Server,
    read_until,
    search,
    server,
    shared_server,
    shows_password,
)
from stand_ins import Command

from dashboards.study import reader as reading
from nas.study.records import finished, read_rows
from nas.study.storage import open_storage
from space import InputError

__all__ = ["SERVERS", "Server", "search", "server", "shared_server"]  # fixtures
ROOT = Path(__file__).parents[3]


def test_a_study_lives_in_postgresql_and_goes_on(
    server: Server, run_search: Command, capfd: pytest.CaptureFixture, runs: Path
) -> None:
    assert run_search("--storage", server.url, "--trials", 4) == 0
    assert run_search("--storage", server.url, "--trials", 6) == 0
    out, err = capfd.readouterr()
    assert "resuming: 4 of 6 trials finished" in out
    study = optuna.load_study(study_name="tiny", storage=open_storage(server.url))
    rows = read_rows(study)
    assert finished(rows) == 6 and [row.baseline for row in rows[:3]] == ["MO", "M1", "M2"]
    # The password is nowhere: not on the terminal, not in the study and its notes, not in any
    # file.
    assert not shows_password(out + err)
    assert not shows_password(
        str(study.user_attrs) + str(study._storage.get_study_system_attrs(study._study_id))
    )
    assert not shows_password(
        str([(trial.user_attrs, trial.system_attrs) for trial in study.trials])
    )
    files = [path for path in runs.rglob("*") if path.is_file()]
    assert files and not any(shows_password(path.read_bytes().decode("latin-1")) for path in files)


def test_a_server_that_is_down_is_told_and_nothing_is_lost(
    server: Server, run_search: Command, capfd: pytest.CaptureFixture
) -> None:
    assert run_search("--storage", server.url, "--trials", 4) == 0
    server.stop()
    capfd.readouterr()
    assert run_search("--storage", server.url, "--trials", 6) == 2
    told = capfd.readouterr().err
    assert (
        told.startswith("error: storage postgresql+psycopg://nas:***@127.0.0.1")
        and told.count("\n") == 1
    )
    assert not shows_password(told)
    server.start()
    assert run_search("--storage", server.url, "--trials", 6) == 0
    assert "resuming: 4 of 6 trials finished" in capfd.readouterr().out


def test_processes_that_open_a_fresh_database_at_the_same_time_all_get_it(server: Server) -> None:
    names: list[str] = []

    def start() -> None:
        storage = open_storage(server.url)
        names.append(
            optuna.create_study(study_name="s", storage=storage, load_if_exists=True).study_name
        )

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["s"] * 8 and len(open_storage(server.url).get_all_studies()) == 1


def test_no_error_shows_a_password(
    server: Server, run_search: Command, capfd: pytest.CaptureFixture
) -> None:
    wrong = "wr0ng@/%: w'ord\"=\\x"
    plain = server.url.replace(quote(PASSWORD, safe=""), "hal/f1@half?2@half:3")
    query = f"postgresql+psycopg://nas@127.0.0.1:{server.port}/postgres"
    urls = {
        server.url_with(password=wrong): "authentication failed",
        server.url_with(host="nowhere.invalid"): "nowhere.invalid",
        server.url_with(database="another"): 'database "another" does not exist',
        server.url_with(port=1): "refused",
        server.url + "?sslmode=require": "SSL",
        server.url + "?sslmode=nonsense": "sslmode",
        server.url.replace("+psycopg", "+nothing"): "needs a database that SQLAlchemy knows",
        f"{query}?password={quote(wrong, safe='')}": "authentication failed",
        plain: "must have one @",
        f"host=127.0.0.1 port={server.port} user=nas password=half1": "must be an SQLAlchemy URL",
        server.url.replace(str(server.port), "port"): "must be an SQLAlchemy URL",
    }
    for url, reason in urls.items():
        assert run_search("--storage", url) == 2, url
        told = "".join(capfd.readouterr())
        assert told.startswith("error: storage ") and told.count("\n") == 1 and reason in told, (
            told
        )
        with pytest.raises(InputError) as raised:
            reading.open_study("tiny", url)
        for text in (told, str(raised.value)):
            assert (
                not shows_password(text) and not shows_password(text, wrong) and "half" not in text
            ), text


@pytest.mark.slow
def test_a_search_goes_on_after_its_server_was_away(
    server: Server, search: Searches, runs: Path
) -> None:
    process = search(0.4, "--trials", 8)
    told = read_until(process, "trial 3: ")
    server.stop()
    time.sleep(3)
    server.start()
    told += process.communicate(timeout=60)[0]
    assert process.returncode == 0, told
    assert (
        told.count("does not answer; waiting up to") == told.count("answers again after") == 1
    ), told
    assert not shows_password(told) and "interrupted" not in told
    rows = read_rows(optuna.load_study(study_name="tiny", storage=open_storage(server.url)))
    assert [row.kind for row in rows] == ["complete"] * 8 and len(
        {row.digest for row in rows}
    ) == 8
    for row in rows:
        assert (runs / "tiny" / str(row.directory) / "result.json").exists()


@pytest.mark.slow
def test_a_server_that_does_not_come_back_ends_the_search_in_one_line(
    server: Server, search: Searches, run_search: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "servers.SEARCH",
        servers.SEARCH.replace(
            "import sys\n",
            "import sys\nfrom nas.study.retrying_storage import Retry\n"
            "Retry.__init__.__kwdefaults__['give_up_s'] = 2.0\n",
            1,
        ),
    )
    process = search(0.4, "--trials", 8)
    told = read_until(process, "trial 3: ")
    server.stop()
    told += process.communicate(timeout=60)[0]
    assert process.returncode == 2 and "Traceback" not in told, told
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(
        "error: storage postgresql+psycopg://nas:***@127.0.0.1"
    ), told
    assert "it has not answered for" in errors[0] and not shows_password(told)
    server.start()
    assert run_search("--storage", server.url, "--trials", 8) == 0
    rows = read_rows(optuna.load_study(study_name="tiny", storage=open_storage(server.url)))
    assert finished(rows) == 8 and sum(row.kind == "interrupted" for row in rows) <= 1


@pytest.mark.slow
def test_two_machines_go_on_after_their_server_was_away_for_a_minute(
    server: Server, search: Searches, runs: Path, tmp_path: Path
) -> None:
    """The database stopped for 60 s in the middle. Prints what was
    lost (nothing).
    """
    folders = [runs, tmp_path / "other machine"]
    processes = [search(1.0, "--trials", 16, runs=folder) for folder in folders]
    told = [read_until(process, "trial ") for process in processes]
    time.sleep(5)
    before = read_rows(optuna.load_study(study_name="tiny", storage=open_storage(server.url)))
    server.stop()
    time.sleep(60)
    server.start()
    told = [
        text + process.communicate(timeout=240)[0]
        for text, process in zip(told, processes, strict=True)
    ]
    assert [process.returncode for process in processes] == [0, 0], told
    for text in told:
        assert (
            text.count("does not answer; waiting up to") == text.count("answers again after") == 1
        ), text
        assert not shows_password(text) and "interrupted" not in text
    rows = read_rows(optuna.load_study(study_name="tiny", storage=open_storage(server.url)))
    trained = [row for row in rows if row.repeat_of is None]
    assert all(row.kind == "complete" for row in rows) and finished(rows) >= 16
    assert len({row.digest for row in trained}) == len(trained)
    kept = [row for row in before if row.kind == "complete"]
    lost = [row.number for row in kept if rows[row.number].psnr_db != row.psnr_db]
    lines = [line for text in told for line in text.splitlines() if "answers again" in line]
    print(
        f"\n{len(kept)} trials had finished before, {len(rows)} after; lost: {lost or 'nothing'}",
        *lines,
        sep="\n",
    )
    assert kept and lost == []
