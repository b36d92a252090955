"""One process at a time asks the study for a trial, over all processes of the study on all
machines.

Three locks, taken in this order, each where it has a meaning. All die with their process, however
it ends.

    FOLDER/lock            (flock) every process that uses the study's folder study.db.lock
    (flock) beside a SQLite file: every folder that uses this database the server's own
    (PostgreSQL's advisory lock, MySQL's GET_LOCK) every machine that uses this database

The server's lock is held by a connection of its own. It is gone when the server stops, so whatever
the storage is asked inside, the lock is looked at first, and taken again where it was lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import Connection, Engine

from nas.study.retrying_storage import Retry, RetryingStorage
from nas.study.storage import storage_error

# Seconds that one question to the server waits for the lock; then it is asked again. Servers serve
# who waits in turn, which nobody would be who only looked now and then; and in between a process
# that is asked to stop can do so.
WAIT_S = 1


@contextlib.contextmanager
def study_lock(folder: Path, study: optuna.Study) -> Iterator[None]:
    """Held while a trial is asked for and claimed, so that nobody takes a trial just asked for as
    dead, or asks for the same.

    Waits as long as it takes; where the database does not answer, as patiently as the storage. Not
    re-entrant.
    """
    storage = getattr(
        study._storage, "_backend", study._storage
    )  # Optuna's cache wraps a database's storage
    with contextlib.ExitStack() as held:
        held.enter_context(_locked(folder / "lock"))
        if isinstance(storage, RDBStorage):
            database = storage.engine.url.database
            if storage.engine.name != "sqlite":
                held.enter_context(_server_lock(storage, study.study_name))
            elif database:
                held.enter_context(_locked(Path(f"{os.path.realpath(database)}.lock")))
        yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _server_lock(storage: RDBStorage, name: str) -> Iterator[None]:
    if storage.engine.name not in _WAYS:
        yield  # a database whose locks we don't know: one machine is as safe as ever
        return
    if isinstance(storage, RetryingStorage):
        patience = storage.patience
    else:
        patience = Retry(explain=functools.partial(storage_error, url=storage.url))
    lock = _ServerLock(storage.engine, name)
    try:
        while not patience.call(lambda _: lock.take()):
            pass
        with patience.first(lock.hold):
            yield
    finally:
        with patience.asked.defer_signals():
            lock.free()


class _ServerLock:
    """A database server's lock for the study `name`, and the connection that holds it."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        self._key = hashlib.blake2b(f"dark-nas asking {name}".encode(), digest_size=8).digest()
        self._connection: Connection | None = None

    def take(self) -> bool:
        """Waits WAIT_S for the lock, and says whether it has come; after an error the next wait is
        on a fresh connection.
        """
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                self._connection.execution_options(isolation_level="AUTOCOMMIT")
                self._connection.detach()  # not the pool's any more: closing it really closes it
                if self._engine.name == "postgresql":
                    self._connection.exec_driver_sql(_SETTINGS)
            return _WAYS[self._engine.name][0](self._connection, self._key)
        except BaseException:
            self.free()
            raise

    def hold(self) -> None:
        """Takes the lock again where its connection was lost, however long that takes."""
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
                return
            except sqlalchemy.exc.SQLAlchemyError:
                self.free()  # it is gone, and so is the lock
        while not self.take():
            pass

    def free(self) -> None:
        """Gives the lock back with its connection; whatever has become of that."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.exec_driver_sql(_WAYS[self._engine.name][1].format(key=self._key.hex()))
            with contextlib.suppress(Exception):
                connection.close()


# Of the connection that holds PostgreSQL's lock. A machine that loses power says no farewell: its
# server must find out by itself, and in a minute rather than in hours.
_SETTINGS = (
    "SELECT set_config('tcp_keepalives_idle', '30', false), "
    "set_config('tcp_keepalives_interval', '10', false), "
    f"set_config('tcp_keepalives_count', '3', false), set_config('lock_timeout', "
    f"'{WAIT_S}s', false)"
)
_LOCK_TIMEOUT = "55P03"  # PostgreSQL's SQLSTATE


def _take_postgresql(connection: Connection, key: bytes) -> bool:
    try:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({int.from_bytes(key, signed=True)})")
    except sqlalchemy.exc.DBAPIError as error:
        # psycopg and psycopg2 name the state, others tell it in the error's text.
        state = (
            getattr(error.orig, "sqlstate", None)
            or getattr(error.orig, "pgcode", None)
            or str(error.orig)
        )
        if _LOCK_TIMEOUT in state:
            return False
        raise
    return True


def _take_mysql(connection: Connection, key: bytes) -> bool:
    return bool(
        connection.exec_driver_sql(f"SELECT GET_LOCK('{key.hex()}', {WAIT_S})").scalar() == 1
    )


# By the name of SQLAlchemy's dialect: how the lock is waited for, and the statement that frees it.
_WAYS: dict[str, tuple[Callable[[Connection, bytes], bool], str]] = {
    "postgresql": (_take_postgresql, "SELECT pg_advisory_unlock_all()"),
    "mysql": (_take_mysql, "SELECT RELEASE_LOCK('{key}')"),
    "mariadb": (_take_mysql, "SELECT RELEASE_LOCK('{key}')"),
}
