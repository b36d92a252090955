"""A study in a real PostgreSQL server, started by the test in a folder of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from stand_ins import Command

from nas.results import finished, read_rows
from nas.storage import open_storage

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
PASSWORD = "s3cret-word"


class Server:
    """PostgreSQL on a loopback port, with password log-in. It won't run as root, so root lends it the user postgres."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = SERVERS[-1]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        self._run("initdb", "-D", folder / "data", "-U", "nas", "-A", "scram-sha-256", "--pwfile", folder / "password")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://nas:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.folder / "data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *words: object) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
        command = [*as_postgres, str(self.bin / program), *map(str, words)]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture
def server() -> Iterator[Server]:
    if not SERVERS:
        pytest.skip("there is no PostgreSQL server here: Debian's package postgresql has it")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a short path: it holds a socket
        server = Server(Path(folder))
        server.start()
        yield server
        if (server.folder / "data" / "postmaster.pid").exists():
            server.stop()


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
