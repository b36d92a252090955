"""A database that is away: what is waited for, for how long, what is told, and that nothing is
done twice or lost.
"""

from __future__ import annotations

import inspect
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from servers import Line, Server, postgresql

from nas.study import storage as storages
from nas.study.retrying_storage import NoAnswerError, Retry, RetryingStorage, one_write
from nas.study.storage import is_storage_error, open_storage

BOTH = ["maximize", "minimize"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgresql() as running:
        yield running


@pytest.fixture
def line(server: Server) -> Iterator[Line]:
    one = Line(server.port)
    yield one
    one.close()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> Iterator[tuple[RetryingStorage, sqlite3.Connection]]:
    """A study's SQLite file, and another program's connection that can lock it; a writer gives up
    on the lock quickly.
    """
    monkeypatch.setattr(storages, "SQLITE_TIMEOUT_S", 0.05)
    storage = open_storage(f"sqlite:///{tmp_path}/study.db", report=told.append)
    storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    yield storage, other
    other.close()
    storage.remove_session()
    storage.engine.dispose()


def test_every_question_to_the_database_is_asked_patiently() -> None:
    """Also those that a later Optuna adds: a method that opens a session, and isn't ours, would
    pass its silence on.
    """
    sessions = [
        name
        for name, method in inspect.getmembers(RDBStorage, inspect.isfunction)
        if "_create_scoped_session" in method.__code__.co_names
    ]
    assert len(sessions) > 20
    assert [
        name for name in sessions if getattr(RetryingStorage, name) is getattr(RDBStorage, name)
    ] == []


def test_a_locked_file_is_waited_for_and_that_is_told_once(
    locked: tuple[RetryingStorage, sqlite3.Connection], told: list[str]
) -> None:
    storage, other = locked
    other.execute("BEGIN IMMEDIATE")
    threads = [
        threading.Thread(target=storage.set_study_user_attr, args=(1, f"key{n}", n))
        for n in range(3)
    ]
    for thread in threads:
        thread.start()
    time.sleep(1.5)  # two attempts of each
    assert len(told) == 1 and "study.db does not answer; waiting up to" in told[0]
    other.execute("ROLLBACK")
    for thread in threads:
        thread.join()
    assert storage.get_study_user_attrs(1) == {"key0": 0, "key1": 1, "key2": 2}
    assert len(told) == 2 and "answers again after" in told[1]


def test_it_gives_up_in_one_line_and_does_not_wait_again_until_the_database_answers(
    locked: tuple[RetryingStorage, sqlite3.Connection], told: list[str]
) -> None:
    storage, other = locked
    storage.retry.give_up_s = 3.0
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        NoAnswerError,
        match=r"^storage sqlite:///.* has been locked .*; it has not answered for [1-9] s$",
    ) as raised:
        storage.set_study_user_attr(1, "key", 1)
    assert (
        is_storage_error(raised.value)
        and storages.storage_error(raised.value, storage.url) is raised.value
    )
    began = time.monotonic()
    with pytest.raises(NoAnswerError):
        storage.set_study_user_attr(1, "key", 1)
    assert time.monotonic() - began < 2.9  # not for as long again
    other.execute("ROLLBACK")
    storage.set_study_user_attr(1, "key", 2)
    assert storage.get_study_user_attrs(1) == {"key": 2} and len(told) == 2


def test_who_was_asked_to_stop_waits_no_longer_than_a_moment(
    locked: tuple[RetryingStorage, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, other = locked
    monkeypatch.setattr("nas.study.retrying_storage.STOP_GIVE_UP_S", 0.5)
    asked = storage.retry.stop
    asked.deferring = True
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, asked.stop).start()
    began = time.monotonic()
    with pytest.raises(NoAnswerError):
        storage.set_study_user_attr(1, "key", 1)
    assert 0.3 < time.monotonic() - began < 10


def test_what_is_wrong_for_good_passes_at_once(
    locked: tuple[RetryingStorage, sqlite3.Connection], told: list[str], tmp_path: Path
) -> None:
    storage, other = locked
    with pytest.raises(KeyError):
        storage.get_study_user_attrs(17)
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "s")
    other.execute("DROP TABLE study_user_attributes")
    with pytest.raises(optuna.exceptions.StorageInternalError):
        storage.set_study_user_attr(1, "key", 1)
    assert told == []


def test_an_older_silence_that_is_being_handled_says_nothing_about_a_new_error(
    tmp_path: Path,
) -> None:
    retry = Retry(
        explain=lambda error: storages.storage_error(error, "sqlite:///x.db"), give_up_s=0.1
    )
    calls = []

    def fails(number: int) -> None:
        calls.append(number)
        raise sqlalchemy.exc.IntegrityError(
            "INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")
        )

    def handles() -> None:
        try:
            raise sqlalchemy.exc.OperationalError(
                "INSERT", {}, sqlite3.OperationalError("database is locked")
            )
        except sqlalchemy.exc.OperationalError:
            retry.call(fails)

    with pytest.raises(sqlalchemy.exc.IntegrityError):
        handles()
    assert calls == [0]


def lose(line: Line, act: Callable[[], Any]) -> Any:
    """What `act` gives when the answer to the first COMMIT of something that it wrote is lost on
    the way.
    """
    line.lose_answer()
    before = line.lost
    result = act()
    assert line.lost == before + 1
    return result


def test_a_write_whose_answer_was_lost_is_not_made_twice(
    server: Server, line: Line, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.study.retrying_storage.FIRST_WAIT_S", 0.02)
    monkeypatch.setattr("random.random", lambda: 0.0)  # Optuna's own waits, in seconds
    storage = open_storage(server.url_with(port=line.port), report=told.append)
    study = lose(
        line,
        lambda: optuna.create_study(
            study_name="lost", storage=storage, directions=BOTH, load_if_exists=True
        ),
    )
    lose(line, lambda: study.set_user_attr("key", [1, 2]))
    trial = lose(line, study.ask)  # made, its answer lost: the same is found again
    lose(line, lambda: trial.suggest_float("x", 0, 1))
    lose(line, lambda: trial.set_user_attr("key", "value"))
    lose(line, lambda: give_together(trial))
    lose(line, lambda: study._storage.record_heartbeat(trial._trial_id))
    lose(line, lambda: study.tell(trial, [1.5, 2.5]))
    lose(line, lambda: study.enqueue_trial({"x": 0.25}, user_attrs={"retry_of": 0}))
    popped = lose(line, study.ask)  # the queued one: taken, its answer lost, and still ours
    assert popped.suggest_float("x", 0, 1) == 0.25
    lose(line, lambda: study.tell(popped, state=TrialState.FAIL))
    lose(line, lambda: study.add_trial(optuna.create_trial(values=[1.0, 2.0])))
    # Whoever reads on another line sees each thing once.
    seen = optuna.load_study(study_name="lost", storage=open_storage(server.url))
    assert seen.user_attrs == {"key": [1, 2]}
    assert [(one.number, one.state) for one in seen.trials] == [
        (0, TrialState.COMPLETE),
        (1, TrialState.FAIL),
        (2, TrialState.COMPLETE),
    ]
    assert seen.trials[0].values == [1.5, 2.5] and seen.trials[0].user_attrs == {
        "key": "value",
        "y": 0.5,
    }
    assert seen.trials[0].params["y"] == 0.5 and set(seen.trials[0].params) == {"x", "y"}
    # Optuna itself makes a trial anew once or twice before it gives up: of those nobody needs to
    # be told.
    assert line.lost == 12 and len(told) == 2 * (12 - 3)


def give_together(trial: optuna.Trial) -> None:
    with one_write(trial):
        trial.suggest_float("y", 0.5, 0.5)
        trial.set_user_attr("y", 0.5)


def test_what_is_given_together_is_stored_together_or_not_at_all(server: Server) -> None:
    server.make_database()
    study = optuna.create_study(
        study_name="together", storage=open_storage(server.url), directions=BOTH
    )
    seen = optuna.load_study(study_name="together", storage=open_storage(server.url))
    first = study.ask()
    with one_write(first):
        first.suggest_categorical("word", ["a", "b"])
        first.suggest_int("number", 2, 8, step=2)
        first.set_user_attr("who", "us")
        threading.Thread(
            target=study._storage.record_heartbeat, args=(first._trial_id,)
        ).start()  # others' writes pass
        assert (seen.trials[0].params, seen.trials[0].user_attrs) == ({}, {})
        assert first.user_attrs == {"who": "us"}
    assert seen.trials[0].params == first.params and len(first.params) == 2
    assert seen.trials[0].distributions == first.distributions and seen.trials[0].user_attrs == {
        "who": "us"
    }
    second = study.ask()
    with pytest.raises(KeyboardInterrupt), one_write(second):
        second.suggest_categorical("word", ["a", "b"])
        raise KeyboardInterrupt
    with (
        pytest.raises(
            ValueError, match="CategoricalDistribution does not support dynamic value space"
        ),
        one_write(second),
    ):
        second.suggest_categorical("word", ["a", "c"])
    second.set_user_attr("after", 1)  # nothing is kept back any more
    assert (seen.trials[1].params, seen.trials[1].user_attrs) == ({}, {"after": 1})
    study.tell(second, state=TrialState.FAIL)
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError), one_write(second):
        second.suggest_float("x", 0, 1)


def test_trials_are_read_as_optuna_reads_them(server: Server) -> None:
    server.make_database()
    study = optuna.create_study(
        study_name="read", storage=open_storage(server.url), directions=BOTH
    )
    storage = study._storage._backend  # type: ignore[attr-defined]
    for number in range(4):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("word", ["a", None, 3])
        trial.set_user_attr("key", {"n": number})
        trial.set_constraint("limit", 1.0)
        if number < 2:
            study.tell(
                trial,
                [1.0, float("inf")] if number else None,
                state=None if number else TrialState.FAIL,
            )
    study.enqueue_trial({"x": 0.5})
    ids = [trial._trial_id for trial in study.trials]
    for states, included, after in (
        (None, set(), -1),
        ([TrialState.RUNNING], set(), -1),
        (None, {ids[0], ids[3]}, ids[2]),
    ):
        asked = (study._study_id, states, included, after)
        assert storage._get_trials(*asked) == RDBStorage._get_trials(storage, *asked) != []
    assert storage._get_trials(study._study_id, None, set(), ids[-1]) == []
    with pytest.raises(KeyError):
        storage._get_trials(12345, None, set(), -1)


def test_a_waiting_trial_that_another_took_meanwhile_is_not_ours(
    locked: tuple[RetryingStorage, sqlite3.Connection], told: list[str]
) -> None:
    storage, other = locked
    study = optuna.load_study(study_name="s", storage=storage)
    study.enqueue_trial({"x": 0.25})
    other.execute("BEGIN IMMEDIATE")
    now = "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    other.execute(f"UPDATE trials SET state = 'RUNNING', datetime_start = {now}")
    rival = threading.Timer(0.3, other.execute, args=("COMMIT",))
    rival.start()
    assert not storage.set_trial_state_values(study.trials[0]._trial_id, TrialState.RUNNING)
    rival.join()
    assert len(told) == 2


def test_a_trial_that_another_told_meanwhile_with_other_values_is_an_error(
    locked: tuple[RetryingStorage, sqlite3.Connection], told: list[str]
) -> None:
    storage, other = locked
    study = optuna.load_study(study_name="s", storage=storage)
    trial = study.ask()
    other.execute("BEGIN IMMEDIATE")
    other.execute("UPDATE trials SET state = 'FAIL'")
    rival = threading.Timer(0.3, other.execute, args=("COMMIT",))
    rival.start()
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [2.0])
    rival.join()
    assert len(told) == 2


def test_a_first_connection_that_fails_is_an_error_at_once_unless_the_storage_is_known(
    server: Server, told: list[str]
) -> None:
    server.stop()
    began = time.monotonic()
    with pytest.raises(
        storages.InputError, match="can't be used: .*check the URL and that its server runs"
    ):
        open_storage(server.url, report=told.append)
    assert time.monotonic() - began < 10 and told == []
    starter = threading.Timer(0.7, server.start)
    starter.start()
    storage = open_storage(server.url, report=told.append, is_known=True)
    starter.join()
    assert len(told) == 2 and storage.get_all_studies() is not None


def test_threads_go_on_after_the_server_was_restarted(server: Server, told: list[str]) -> None:
    storage = open_storage(server.url, report=told.append)
    study = optuna.create_study(study_name="threads", storage=storage)
    trial = study.ask()
    ended = threading.Event()
    errors: list[Exception] = []

    def beat() -> None:
        try:
            while not ended.wait(0.05):
                study._storage.record_heartbeat(trial._trial_id)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=beat)
    thread.start()
    for number in range(40):
        if number == 10:
            server.stop(
                "fast"
            )  # says goodbye: "terminating connection due to administrator command"
            threading.Timer(1.0, server.start).start()
        trial.set_user_attr(f"key{number}", number)
    ended.set()
    thread.join()
    assert errors == [] and len(told) == 2, told
    assert study.trials[0].user_attrs == {f"key{number}": number for number in range(40)}
