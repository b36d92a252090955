"""One process at a time proposes trials of a study: real processes, folders and databases, and
some that are killed inside.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from servers import Server, postgresql

from nas.study.lock import study_lock
from nas.study.storage import open_storage, quiet_optuna

ROOT = Path(__file__).parents[3]
# Goes in and out ROUNDS times; inside it makes a file that must not be there, and counts, slowly
# enough to be caught.
PROGRAM = """
import os, sys, time
from pathlib import Path
import optuna
from nas.study.lock import study_lock
from nas.study.storage import open_storage, quiet_optuna
quiet_optuna()
url, folder, shared, rounds = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
study = optuna.load_study(study_name="s", storage=open_storage(url))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    with study_lock(folder, study):
        os.close(os.open(shared / "inside", os.O_CREAT | os.O_EXCL))
        count = int((shared / "count").read_text())
        study.ask()
        (shared / "count").write_text(str(count + 1))
        (shared / "inside").unlink()
if not rounds:
    with study_lock(folder, study):
        print("inside", flush=True)
        time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with the study "s", in neither of the folders that use it."""
    url: str = (
        f"sqlite:///{tmp_path}/study.db"
        if request.param == "sqlite"
        else request.getfixturevalue("server").url
    )
    quiet_optuna()
    storage = open_storage(url)
    for old in storage.get_all_studies():
        storage.delete_study(old._study_id)
    optuna.create_study(study_name="s", storage=storage)
    storage.remove_session()
    storage.engine.dispose()
    return url


def start(url: str, folder: Path, shared: Path, rounds: int) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, url, str(folder), str(shared), str(rounds)],
        cwd=ROOT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return process


def said(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    line = process.stdout.readline()
    if line.strip() != word:
        pytest.fail(line + process.stdout.read())


def go(processes: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def test_two_folders_with_one_database_never_ask_at_the_same_time(
    url: str, tmp_path: Path
) -> None:
    (tmp_path / "count").write_text("0")
    processes = [start(url, tmp_path / f"folder{n}", tmp_path, 15) for n in range(2)]
    for process in processes:
        said(process, "ready")
    go(processes)
    ends = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert (tmp_path / "count").read_text() == "30"


def test_a_process_killed_inside_lets_the_next_one_in_at_once(url: str, tmp_path: Path) -> None:
    first = start(url, tmp_path / "a", tmp_path, 0)
    said(first, "ready")
    go([first])
    said(first, "inside")
    study = optuna.load_study(study_name="s", storage=open_storage(url))
    (tmp_path / "b").mkdir()
    entered: list[float] = []

    def enter() -> None:
        with study_lock(tmp_path / "b", study):
            entered.append(time.monotonic())

    thread = threading.Thread(target=enter)
    thread.start()
    time.sleep(0.5)
    assert entered == []
    killed = time.monotonic()
    first.kill()
    first.communicate()
    thread.join(20)
    assert entered and entered[0] - killed < 10


def test_a_lock_that_was_lost_with_its_server_is_taken_again_before_anything_is_done_inside(
    server: Server, tmp_path: Path
) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours = optuna.create_study(
        study_name="lost lock", storage=open_storage(server.url, report=lambda text: None)
    )
    theirs = optuna.load_study(
        study_name="lost lock", storage=open_storage(server.url, report=lambda text: None)
    )
    order: list[str] = []
    with study_lock(tmp_path / "ours", ours):
        server.stop()
        server.start()
        inside = threading.Event()

        def enter() -> None:
            with study_lock(tmp_path / "theirs", theirs):
                inside.set()
                time.sleep(0.4)
                theirs.set_user_attr("theirs", 1)
                order.append("theirs")

        thread = threading.Thread(target=enter)
        thread.start()
        assert inside.wait(20)
        ours.set_user_attr("ours", 1)
        order.append("ours")
        thread.join()
    assert order == ["theirs", "ours"] and set(ours.user_attrs) == {"ours", "theirs"}


def test_a_study_in_memory_needs_only_its_folder(tmp_path: Path) -> None:
    with study_lock(tmp_path, optuna.create_study()):
        assert (tmp_path / "lock").exists()
