"""The command, run as a user runs it: its output, what it refuses and leaves untouched."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from studies import Made, make_file, make_study

from dashboards.__main__ import main
from dashboards.server.guard import REASON

pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard")

ROOT = Path(__file__).parents[2]
URL = "sqlite:///{runs}/dark/study.db"
COMMAND = (sys.executable, "-m", "dashboards")
# Paths of optuna-dashboard at which some method writes.
WRITTEN = [
    "/",
    "/api/studies",
    "/api/studies/1",
    "/api/studies/1/note",
    "/api/studies/1/preference",
    "/api/studies/1/1/note",
    "/api/trials/1/tell",
    "/api/artifacts/1/1",
    "/api/artifacts/1/1/abc",
    "/incompatible-rdb-schema",
]
READS = [
    "/",
    "/dashboard",
    "/dashboard/studies/1",
    "/api/meta",
    "/api/studies",
    "/api/studies/1",
    "/api/studies/1?after=2",
    "/api/studies/2/param_importances",
    "/api/studies/1/plot/pareto_front",
    "/csv/1",
    "/incompatible-rdb-schema",
    "/static/bundle.js",
    "/favicon.ico",
    "/api/studies/2?after=0",
    "/api/studies/3?after=0",
]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """RUNS with the study "dark" beside one of another tool and an empty one in its database."""
    folder = tmp_path / "runs" / "dark"
    picture = {"abc": b"a picture"}  # the name becomes part of an id, which must be hexadecimal
    made = [
        Made(baseline="MO", psnr_db=27.0, latency_ms=50.0, artifacts=picture),
        Made(baseline="M1", psnr_db=28.0, latency_ms=110.0, artifacts=picture),
        Made(psnr_db=26.0, latency_ms=20.0, artifacts=picture),
    ]
    url = make_file(made, folder)
    other = optuna.create_study(study_name="another tool's", storage=url)
    other.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=3)
    make_study([], url, name="empty")
    return folder.parent


@contextlib.contextmanager
def served(
    runs: Path, *flags: str, study: str = "dark"
) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """The command as a process of its own: (process, port, first line of its output)."""
    words = [*COMMAND, "--study", study, "--runs", str(runs), "--port", "0", *flags]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, **pipes, text=True, cwd=ROOT) as command:
        try:
            assert command.stdout is not None
            line = command.stdout.readline()
            if line.startswith("note:"):
                line += command.stdout.readline()
            page = re.search(r"http://127\.0\.0\.1:(\d+)/dashboard/studies/\d+", line)
            assert page is not None, line
            yield command, int(page[1]), line
        finally:
            if command.poll() is None:
                command.kill()


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, {"Content-Type": "application/json", **sent})
        answer = connection.getresponse()
        return answer.status, answer.read()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_read_only_server_changes_nothing_and_ends_cleanly(runs: Path) -> None:
    before = digest(runs / "dark" / "study.db")
    files = sorted((runs / "dark" / "artifacts").iterdir())
    with served(runs) as (command, port, line):
        assert "read-only; Ctrl-C ends it" in line
        change = {"body": "x", "version": 1, "study_name": "x", "directions": ["minimize"]}
        methods = ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")
        for method, path in itertools.product(methods, WRITTEN):
            status, body = ask(port, method, path, change)
            assert (status, json.loads(body)) == (405, {"reason": REASON}), path
        statuses = {path: ask(port, "GET", path, Accept_Encoding="gzip")[0] for path in READS}
        assert set(statuses.values()) <= {200, 302}, statuses
        stored = [
            f"/artifacts/1/{trial['trial_id']}/{meta['artifact_id']}"
            for trial in json.loads(ask(port, "GET", "/api/studies/1")[1])["trials"]
            for meta in trial["artifacts"]
        ]
        assert [ask(port, "GET", url) for url in stored] == [(200, b"a picture")] * 3
        status, text = ask(port, "GET", "/artifacts/1/1/0000-ffff")
        assert (status, text.decode()) == (
            404,
            f"There is no file 0000-ffff in {runs / 'dark' / 'artifacts'}; start the dashboard "
            "with --artifacts if it is elsewhere.\n",
        )
        command.send_signal(signal.SIGINT)
        assert (command.wait(10), command.stderr and command.stderr.read()) == (0, "")
    assert digest(runs / "dark" / "study.db") == before
    assert sorted((runs / "dark" / "artifacts").iterdir()) == files


def test_other_studies_are_listed_and_complete(runs: Path) -> None:
    with served(runs) as (command, port, _):
        listed = json.loads(ask(port, "GET", "/api/studies")[1])["study_summaries"]
        names = ["dark", "another tool's", "empty"]
        assert [(one["study_id"], one["study_name"]) for one in listed] == [*enumerate(names, 1)]
        ours, other, empty = (
            json.loads(ask(port, "GET", f"/api/studies/{n}?after=0")[1]) for n in (1, 2, 3)
        )
        assert [figure["id"] for figure in ours["plotly_graph_objects"]] == ["front"]
        assert (len(other["trials"]), other["plotly_graph_objects"]) == (3, [])
        assert empty["trials"] == []
        assert "No network" in empty["plotly_graph_objects"][0]["graph_object"]
        command.send_signal(signal.SIGTERM)
        assert (command.wait(10), command.stderr and command.stderr.read()) == (0, "")


def test_only_this_machines_own_name_is_served(runs: Path) -> None:
    with served(runs, "--writable") as (_, port, line):
        assert "changes are allowed" in line
        assert ask(port, "GET", "/api/studies", Host="evil.example")[0] == 403
        assert ask(port, "GET", "/api/studies", Host=f"evil.example:{port}")[0] == 403
        assert ask(port, "GET", "/api/studies", Host=f"localhost:{port}")[0] == 200
        note = {"body": "**mine**", "version": 1}
        for origin, status in (("evil.example", 403), (f"127.0.0.1:{port}", 204)):
            answer = ask(port, "PUT", "/api/studies/1/note", note, Origin=f"http://{origin}")
            assert answer[0] == status
        assert json.loads(ask(port, "GET", "/api/studies/1")[1])["note"] == note
    stored = optuna.storages.RDBStorage(URL.format(runs=runs))
    assert not any("plot_data" in key for key in stored.get_study_system_attrs(1))


WRITER = """
import sys, optuna
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="dark", storage=sys.argv[1])
study._storage._backend.engine.connect().exec_driver_sql("PRAGMA journal_mode=WAL")
for n in range(2):
    trial = study.ask()
    trial.suggest_int("blocks", 0, 3)
    print("Running", flush=True)
    sys.stdin.readline()
    study.tell(trial, [25.0 + n, 30.0])
    print("Complete", flush=True)
    sys.stdin.readline()
"""


def test_what_another_process_writes_is_seen_within_seconds(runs: Path) -> None:
    words = [sys.executable, "-c", WRITER, URL.format(runs=runs)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        served(runs) as (_, port, _line),
        subprocess.Popen(words, **pipes, text=True) as writer,
    ):
        assert writer.stdout is not None and writer.stdin is not None
        for number, state in itertools.product((3, 4), ("Running", "Complete")):
            assert writer.stdout.readline() == f"{state}\n"
            end, states = time.monotonic() + 10, list[tuple[int, str]]()
            while states != [(number, state)]:
                assert time.monotonic() < end, (number, state, states)
                time.sleep(0.2)
                answer = json.loads(ask(port, "GET", f"/api/studies/1?after={number}")[1])
                states = [(trial["number"], trial["state"]) for trial in answer["trials"]]
            writer.stdin.write("\n")
            writer.stdin.flush()
        assert writer.wait(20) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--study", "dork", "--storage", URL], "there are: another tool's, dark, empty"),
        (["--study", "dork"], "there is no study at sqlite:///"),
        (["--storage", "sqlite:////no/where.db"], "no study at sqlite:////no/where.db; run"),
        (["--storage", "postgresql+psycopg://me:secret@127.0.0.1:1/x"], "can't be used"),
        (["--storage", "sqlite:///{runs}/text"], "is no SQLite database"),
        (["--storage", "sqlite:///{runs}/nothing"], "can't be used"),
        (["--port", "70000"], "--port must be within 0 to 65535, but got 70000"),
        (["--host", "::"], "unrecognized arguments: --host ::; see python -m dashboards --help"),
    ],
)
def test_bad_input_is_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    (runs / "text").write_text("no database " * 100)
    (runs / "nothing").write_bytes(b"")
    words = [flag.format(runs=runs) for flag in flags]
    assert main(["--study", "dark", "--runs", str(runs), "--port", "0", *words]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    assert message in line and "secret" not in line


def test_a_database_without_studies_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.storages.RDBStorage(url).engine.dispose()
    assert main(["--study", "dark", "--storage", url, "--port", "0"]) == 2
    line = capsys.readouterr().err
    assert "there is no study 'dark'" in line and "there are: none" in line


def test_a_port_in_use_is_reported_with_a_free_one(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--study", "dark", "--runs", str(runs), "--port", str(port)]) == 2
        message = rf"error: port {port} is in use; give another, such as --port (\d+)\n"
        match = re.fullmatch(message, capsys.readouterr().err)
        assert match is not None
        with socket.socket() as free:
            free.bind(("127.0.0.1", int(match[1])))


def test_without_optuna_dashboard_the_command_says_what_to_install(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    assert main(["--study", "dark", "--runs", str(runs), "--port", "0"]) == 2
    assert "run pip install 'optuna-dashboard>=0.20'" in capsys.readouterr().err


def test_a_missing_folder_of_artifacts_is_reported(runs: Path, tmp_path: Path) -> None:
    with served(runs, "--artifacts", str(tmp_path / "none")) as (_, port, line):
        assert line.startswith(f"note: there is no folder {tmp_path / 'none'}, so the trials")
        assert ask(port, "GET", "/api/studies/1")[0] == 200


def test_its_example_runs(runs: Path) -> None:
    """The last line of its help, in a folder with such a study."""
    help_text = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    words = help_text.strip().splitlines()[-1].removeprefix("example: python ").split()
    with subprocess.Popen(
        [sys.executable, *words, "--port", "0"], cwd=runs.parent, stdout=subprocess.PIPE, text=True
    ) as command:
        try:
            assert command.stdout is not None
            assert "/dashboard/studies/1" in command.stdout.readline()
            command.send_signal(signal.SIGINT)
            assert command.wait(10) == 0
        finally:
            command.kill()  # else the end of the block would wait for it
