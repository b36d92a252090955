"""Bad input: one line, status 2, nothing lost."""

from __future__ import annotations

import functools
import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from stand_ins import Command, Loader, Runner

from nas.study.retrying_storage import Retry
from nas.study.storage import default_url, mask_password

Read = Callable[[], optuna.Study]


@pytest.fixture
def refused(run_search: Command, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command, expects status 2 and one line, and gives that line back."""

    def run(*flags: object, **stand_ins: object) -> str:
        capsys.readouterr()
        runner = stand_ins.pop("runner", Runner())
        assert run_search(*flags, runner=runner, **stand_ins) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1 and told.endswith("\n")
        return told

    return run


def test_flags(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "unrecognized arguments: --trails 3; see python -m nas.search --help" in refused(
        "--trails", 3
    )
    assert "there is no study 'drak'; there are: dark" in refused("--study", "drak")
    assert "there is no data folder /no/where" in refused("--data", "/no/where")
    assert "device must be auto, cpu, cuda or cuda:N, but got 'tpu'" in refused("--device", "tpu")
    assert "trials must be from 1 to 1000000, but got 0" in refused("--trials", 0)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            "study.db",
            "storage must be an SQLAlchemy URL such as sqlite:///runs/dark/study.db, but "
            "got 'study.db'",
        ),
        ("sqlite://", "storage must be a database that lasts"),
        (
            "sqlite:////no/where/x.db",
            "storage sqlite:////no/where/x.db can't be opened; its folder must exist",
        ),
        (
            "oracool://u:geheim@h/x",
            "storage oracool://u:***@h/x needs a database that SQLAlchemy knows",
        ),
        (
            "mysql+mysqldb://u:geheim@h/x",
            "storage mysql+mysqldb://u:***@h/x needs the Python package MySQLdb;",
        ),
    ],
)
def test_storages_that_are_none(refused: Callable[..., str], url: str, told: str) -> None:
    line = refused("--storage", url)
    assert told in line and "geheim" not in line


def test_a_server_that_is_not_there(refused: Callable[..., str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = refused("--storage", f"postgresql+psycopg://me:geheim@127.0.0.1:{port}/dark")
    assert "can't be used" in line and "geheim" not in line and "me:***@127.0.0.1" in line


def test_a_password_is_never_shown() -> None:
    assert mask_password("postgresql://me:geheim@host/x") == "postgresql://me:***@host/x"
    assert "geheim" not in mask_password("me:geheim@host")


def test_a_file_that_is_no_database(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text(
        "this is a text, and long enough not to be taken for an empty database" * 9
    )
    assert "is no SQLite database" in refused("--storage", f"sqlite:///{tmp_path}/x.db")


def test_a_read_only_storage(
    refused: Callable[..., str], run_search: Command, runs: Path, read_study: Read
) -> None:
    run_search("--trials", 3)
    url = f"sqlite:///file:{runs}/tiny/study.db?mode=ro&uri=true"
    assert "is read-only; make it writable, or give another --storage" in refused(
        "--trials", 5, "--storage", url
    )
    assert len(read_study().trials) == 3


def test_a_study_of_another_program(refused: Callable[..., str], runs: Path) -> None:
    (runs / "tiny").mkdir(parents=True)
    url = default_url(runs / "tiny")
    optuna.create_study(study_name="tiny", storage=url, direction="minimize")
    told = refused()
    assert (
        "study 'tiny' in" in told
        and "was not made by nas.search (its objectives: minimize)" in told
    )
    optuna.delete_study(study_name="tiny", storage=url)
    foreign = optuna.create_study(
        study_name="tiny", storage=url, directions=["maximize", "minimize"]
    )
    foreign.tell(foreign.ask(), [1, 2])
    assert "was not made by nas.search" in refused()
    assert len(optuna.load_study(study_name="tiny", storage=url).trials) == 1


def test_other_studies_in_the_same_database_are_left_alone(
    run_search: Command, runs: Path
) -> None:
    (runs / "tiny").mkdir(parents=True)
    url = default_url(runs / "tiny")
    optuna.create_study(study_name="other", storage=url, direction="minimize")
    assert run_search("--trials", 3) == 0
    assert sorted(optuna.get_all_study_names(url)) == ["other", "tiny"]


def test_a_changed_config_is_refused_with_the_keys_named(
    refused: Callable[..., str], run_search: Command, read_study: Read, runs: Path
) -> None:
    run_search("--trials", 3)
    told = refused("--steps", 30, "--seed", 4)
    assert (
        "seed was 0, is 4; train.steps was 20, is 30" in told
        and "--runs DIR" in told
        and str(runs / "tiny") in told
    )
    assert read_study().user_attrs["fixed"]["train.steps"] == 20
    assert (
        run_search(
            "--trials", 4, "--sampler", "random", "--latency-limit-ms", 500, "--timeout-min", 9
        )
        == 0
    )


def test_before_the_first_trial_the_config_may_change(
    run_search: Command, read_study: Read
) -> None:
    class Refusing(Loader):
        def __call__(self, *args: object, **kwargs: object) -> object:
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        run_search(load=Refusing())
    assert run_search("--steps", 30) == 0
    assert read_study().user_attrs["fixed"]["train.steps"] == 30


def test_changed_data_is_refused(refused: Callable[..., str], run_search: Command) -> None:
    run_search("--trials", 3)
    told = refused("--trials", 4, load=Loader(digest="xyz"))
    assert "the data of study 'tiny' has changed (digest was 'abc', is 'xyz')" in told


def test_a_file_in_the_way(refused: Callable[..., str], runs: Path) -> None:
    runs.write_text("I am a file")
    assert "a file is in the way; change --runs" in refused()


def test_a_storage_held_by_another_program(
    refused: Callable[..., str], run_search: Command, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_search("--trials", 3)
    monkeypatch.setattr("nas.study.storage.SQLITE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(
        "nas.study.storage.Retry", functools.partial(Retry, give_up_s=0.5)
    )  # else a quarter of an hour
    holder = sqlite3.connect(runs / "tiny" / "study.db")
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert "has been locked for 0.2 s" in refused("--trials", 4)
    finally:
        holder.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, 4 MiB small."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("needs root to mount a file system")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("file systems can't be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


class Filling(Runner):
    """Leaves more than the disk can hold."""

    def __call__(self, *args: object, directory: Path, **kwargs: object) -> object:  # type: ignore[override]
        result = super().__call__(*args, directory=directory, **kwargs)  # type: ignore[arg-type]
        if len(self.calls) == 2:
            (directory / "weights").write_bytes(bytes(10**7))
        return result


def test_a_full_disk_keeps_what_is_finished(
    refused: Callable[..., str], run_search: Command, small_disk: Path
) -> None:
    told = refused("--runs", small_disk, runner=Filling())
    assert "full" in told and "free some space" in told
    study = optuna.load_study(study_name="tiny", storage=default_url(small_disk / "tiny"))
    assert study.trials[0].user_attrs["kind"] == "complete"
    assert not (small_disk / "tiny" / "trials" / "0001").exists(), (
        "what was not finished makes room"
    )
    runner = Runner()
    assert run_search("--runs", small_disk, runner=runner) == 0
    assert len(runner.calls) == 4


def test_a_read_only_folder(
    refused: Callable[..., str], run_search: Command, small_disk: Path
) -> None:
    run_search("--runs", small_disk, "--trials", 3)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "must be writable" in refused("--runs", small_disk, "--trials", 5)
    assert "must be writable" in refused("--runs", small_disk / "new")
