"""A process that is asked to stop during a query to a database: the query is not interrupted, and
the trial is put back.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from servers import Server, read_until, search, server, shared_server

from nas.cli.signals import StopSignal
from nas.study.lock import study_lock
from nas.study.records import read_rows
from nas.study.storage import open_storage

__all__ = ["search", "server", "shared_server"]  # fixtures
Searches = Callable[..., subprocess.Popen[str]]
ENOUGH_S = 120.0


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    with StopSignal().installed() as one:
        yield one


def signalled(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_waits_for_the_end_of_what_defers_it(stop: StopSignal) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), stop.defer_signals():
        with stop.defer_signals():
            signalled()
            assert stop.requested()
            done.append("inner")
        signalled()
        done.append("outer")
    assert done == ["inner", "outer"] and stop.status == 0
    with stop.defer_signals():  # one that has cut does not cut again
        pass


def test_a_deferred_signal_does_not_cut_where_a_call_ends_but_a_second_does(
    stop: StopSignal,
) -> None:
    stop.deferring = True
    with stop.defer_signals():
        signalled()
    with pytest.raises(KeyboardInterrupt), stop.defer_signals():
        signalled(signal.SIGINT)


def test_a_signal_between_two_calls_cuts_at_once(stop: StopSignal) -> None:
    with stop.defer_signals():
        pass
    with pytest.raises(KeyboardInterrupt):
        signalled()
        pytest.fail("not cut")


def test_a_call_in_another_thread_defers_nothing(stop: StopSignal) -> None:
    inside, over = threading.Event(), threading.Event()

    def call() -> None:
        with stop.defer_signals():
            inside.set()
            over.wait()

    thread = threading.Thread(target=call)
    thread.start()
    inside.wait()
    try:
        with pytest.raises(KeyboardInterrupt):
            signalled()
            pytest.fail("not cut")
    finally:
        over.set()
        thread.join()


def test_a_call_that_never_ends_is_left_by_a_third_signal() -> None:
    program = """
import os, signal
from nas.cli.signals import StopSignal
stop = StopSignal()
with stop.installed(), stop.defer_signals():
    for n in range(3):
        print(n, flush=True)
        os.kill(os.getpid(), signal.SIGINT)
    print("on")
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert (done.stdout.split(), done.returncode) == (["0", "1", "2"], 130)


def put_back(server: Server) -> list[optuna.trial.FrozenTrial]:
    """The queued repeats of trials that were running when their process was asked to stop; nothing
    runs any more.
    """
    study = optuna.load_study(study_name="tiny", storage=open_storage(server.url))
    assert not any(row.kind == "running" for row in read_rows(study))
    repeats = [trial for trial in study.trials if "retry_of" in trial.user_attrs]
    assert [trial.user_attrs["attempts"] for trial in repeats] == [0] * len(
        repeats
    )  # not the network's fault
    return repeats


@contextlib.contextmanager
def blocked(server: Server, table: str) -> Iterator[sqlalchemy.Connection]:
    """Inside, whoever writes into `table` waits for the answer."""
    engine = sqlalchemy.create_engine(server.url)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
            yield connection
    finally:
        engine.dispose()


def wait_for_one_that_waits(connection: sqlalchemy.Connection, wanted: str) -> None:
    """Until the server has a connection that waits for a lock of the kind `wanted`."""
    until = time.monotonic() + ENOUGH_S
    query = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = '{wanted}'"
    while not connection.exec_driver_sql(query).scalar():
        assert time.monotonic() < until, f"nobody came to wait for {wanted}"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.slow
def test_asked_to_stop_while_the_database_is_asked(
    server: Server, search: Searches, number: int
) -> None:
    process = search(1.0)
    read_until(process, "trial 0: MO starts")
    with blocked(server, "trial_params") as connection:
        wait_for_one_that_waits(connection, "relation")  # with the next trial's first gene
        process.send_signal(number)
        time.sleep(1.0)
    output = process.communicate(timeout=ENOUGH_S)[0]
    assert process.returncode == (0 if number == signal.SIGTERM else 130), output
    assert "Traceback" not in output and "the same command goes on" in output
    assert len(put_back(server)) == 1


@pytest.mark.slow
def test_asked_to_stop_while_others_hold_the_lock(
    server: Server, search: Searches, tmp_path: Path
) -> None:
    """One machine asks, one waits for its turn and is asked to stop, and two more wait besides."""
    first = search(1.0, "--trials", 1)
    output = first.communicate(timeout=ENOUGH_S)[0]
    assert first.returncode == 0, output
    study = optuna.load_study(study_name="tiny", storage=open_storage(server.url))
    (tmp_path / "ours").mkdir()
    engine = sqlalchemy.create_engine(server.url, isolation_level="AUTOCOMMIT")
    waiting = [search(1.0, "--trials", 50, runs=tmp_path / name) for name in ("a", "b", "c")]
    with engine.connect() as connection:
        for process in waiting:
            read_until(process, "resuming")
        with study_lock(tmp_path / "ours", study):
            wait_for_one_that_waits(connection, "advisory")
            time.sleep(1.0)
            waiting[0].send_signal(signal.SIGTERM)
            time.sleep(2.0)  # longer than one question waits
            waiting[1].send_signal(signal.SIGTERM)
    engine.dispose()
    waiting[2].send_signal(signal.SIGTERM)
    ends = [process.communicate(timeout=ENOUGH_S)[0] for process in waiting]
    assert [process.returncode for process in waiting] == [0, 0, 0], ends
    assert not any("Traceback" in output for output in ends)
    put_back(server)
    with study_lock(tmp_path / "ours", study):
        pass  # and the lock is free
