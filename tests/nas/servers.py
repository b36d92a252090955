"""A real PostgreSQL server for tests, and a line to it that can be cut at the worst moment."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import sqlalchemy

SERVERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
ROOT = Path(__file__).parents[2]
# Every character that a URL, a shell, a connection string or a log could trip over.
PASSWORD = "s3cret/w:rd @%?#&='\"\\{}"


class Server:
    """PostgreSQL on a loopback port, with password log-in; as user postgres where this is root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = SERVERS[-1]
        self.database, self._made = "postgres", 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        (folder / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        flags = "-D data -U nas -A scram-sha-256 --no-sync --pwfile password"
        self._run("initdb", *flags.split())

    @property
    def url(self) -> str:
        return self.url_with()

    def url_with(
        self,
        *,
        password: str = PASSWORD,
        host: str = "127.0.0.1",
        port: int | None = None,
        database: str | None = None,
    ) -> str:
        place = f"{host}:{port or self.port}/{database or self.database}"
        return f"postgresql+psycopg://nas:{quote(password, safe='')}@{place}"

    def make_database(self) -> None:
        """`url` is a fresh, empty database from now on."""
        self._made += 1
        self.database = f"test{self._made}"
        engine = sqlalchemy.create_engine(
            self.url_with(database="postgres"), isolation_level="AUTOCOMMIT"
        )
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {self.database}")
        engine.dispose()

    @property
    def runs(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    def start(self) -> None:
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=300 "
            f"-c unix_socket_directories={self.folder}"
        )
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self, how: str = "immediate") -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", how, "stop")

    def _run(self, program: str, *words: str) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
        command = [*as_postgres, str(self.bin / program), *words]
        silent = subprocess.DEVNULL
        subprocess.run(command, check=True, cwd=self.folder, stdout=silent, stderr=silent)


@contextlib.contextmanager
def postgresql() -> Iterator[Server]:
    """A server that runs; skips the test where Debian's package isn't installed."""
    if not SERVERS:
        pytest.skip("there is no PostgreSQL server here: Debian's package postgresql has it")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:  # a short path: it holds a socket
        server = Server(Path(folder))
        server.start()
        try:
            yield server
        finally:
            if server.runs:
                server.stop()


class Line:
    """Passes a client's bytes on to a server, and back; after `lose_answer()` it cuts instead of
    passing on what the server answers to the next COMMIT of something written.
    """

    def __init__(self, port: int) -> None:
        self._to, self._armed = port, False
        self.lost = 0
        """Answers that were swallowed."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def lose_answer(self) -> None:
        self._armed = True

    def close(self) -> None:
        for one in list(self._sockets):
            _shut(one)
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [client, server]
                wrote, doomed = threading.Event(), threading.Event()
                for source, target, is_client in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(
                        target=self._pass, args=(source, target, is_client, wrote, doomed)
                    )
                    self._threads.append(thread)
                    thread.start()

    def _pass(
        self,
        source: socket.socket,
        target: socket.socket,
        is_client: bool,
        wrote: threading.Event,
        doomed: threading.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_client and b"COMMIT" in data:
                    if self._armed and wrote.is_set():
                        self._armed = False
                        doomed.set()
                    wrote.clear()
                if not is_client and doomed.is_set():
                    self.lost += 1
                    break
                if not is_client and (b"INSERT 0 1" in data or b"UPDATE 1" in data):
                    wrote.set()
                target.sendall(data)
        _shut(source)
        _shut(target)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def shows_password(text: str, password: str = PASSWORD) -> bool:
    """Whether any spelling of it, or half of it, is in `text`."""
    middle = len(password) // 2
    spellings = [password, repr(password)[1:-1], quote(password), quote(password, safe="")]
    spellings += [quote_plus(password), password[:middle], password[middle:]]
    return any(spelling in text for spelling in spellings)


SEARCH = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from stand_ins import Loader, Measure, Runner
from nas import cli, search
parts = dict(runner=Runner(seconds={seconds}, steps=20), load=Loader(), measure=Measure())
sys.exit(cli.run(lambda argv: search.main(argv, **parts), sys.argv[1:]))
"""
Searches = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.fixture
def server(shared_server: Server) -> Server:
    """Runs, with an empty database."""
    if not shared_server.runs:
        shared_server.start()
    shared_server.make_database()
    return shared_server


@pytest.fixture
def search(server: Server, tiny: Path, runs: Path) -> Searches:
    """Starts a search in the server's database; another folder `runs` is another machine's."""

    def start(seconds: float, *flags: object, runs: Path = runs) -> subprocess.Popen[str]:
        program = SEARCH.format(root=str(ROOT), here=str(Path(__file__).parent), seconds=seconds)
        words = ["--study", tiny, "--runs", runs, "--device", "cpu", "--storage", server.url]
        words += flags
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, words)],
            cwd=ROOT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return start


def read_until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"{text!r} never came:\n{seen}")
