"""One process at a time proposes a trial of a study, over all its processes on all machines.

Three locks, taken in this order, each where it has a meaning. All end with their process.

    FOLDER/lock         flock: every process that uses the study's folder
    study.db.lock       flock beside a SQLite file: every folder that uses this database
    the server's own    PostgreSQL's advisory lock: every machine that uses this database

The server's lock is held by a connection of its own, and gone when the server stops: before each
call to the storage inside, the lock is checked, and taken again where it was lost. (filelock polls
where flock waits its turn, so flock is called here.)
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import optuna
import sqlalchemy
from sqlalchemy.engine import Connection, Engine

from nas.study.internals import database_of
from nas.study.retrying_storage import RetryingStorage

# Seconds that one statement waits for the server's lock; then another does. A server serves who
# waits in turn, and in between a process that is asked to stop can do so.
WAIT_S = 1
_LOCK_TIMEOUT = "55P03"  # PostgreSQL's SQLSTATE
# Of the connection that holds the lock. A machine that loses power says no farewell: its server
# must find out by itself, and in a minute rather than in hours.
_SETTINGS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "lock_timeout": f"{WAIT_S}s",
}


@contextlib.contextmanager
def study_lock(folder: Path, study: optuna.Study) -> Iterator[None]:
    """A context, held while a trial is proposed and claimed: so nobody takes a new trial for dead,
    or proposes the same network.

    Waits as long as it takes; where the database does not answer, as long as the storage. Not
    re-entrant.
    """
    storage = database_of(study)
    with contextlib.ExitStack() as locks:
        locks.enter_context(_flock(folder / "lock"))
        if isinstance(storage, RetryingStorage):
            if storage.engine.name == "postgresql":
                locks.enter_context(_server_lock(storage, study.study_name))
            elif storage.engine.name == "sqlite" and (file := storage.engine.url.database):
                locks.enter_context(_flock(Path(f"{os.path.realpath(file)}.lock")))
        yield


@contextlib.contextmanager
def _flock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _server_lock(storage: RetryingStorage, name: str) -> Iterator[None]:
    lock, retry = _ServerLock(storage.engine, name), storage.retry
    try:
        while not retry.call(lambda _: lock.acquire()):
            pass
        with retry.renewing(lock.renew):
            yield
    finally:
        with retry.stop.defer_signals():
            lock.release()


class _ServerLock:
    """A PostgreSQL server's lock for the study `name`, and the connection that holds it."""

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine
        digest = hashlib.blake2b(f"dark-nas asking {name}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, signed=True)
        self._connection: Connection | None = None

    def acquire(self) -> bool:
        """Waits WAIT_S for the lock; whether it has come. An error closes the connection."""
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                self._connection.execution_options(isolation_level="AUTOCOMMIT")
                self._connection.detach()  # not the pool's any more: closing it really closes it
                sets = (f"set_config('{key}', '{to}', false)" for key, to in _SETTINGS.items())
                self._connection.exec_driver_sql(f"SELECT {', '.join(sets)}")
            self._connection.exec_driver_sql(f"SELECT pg_advisory_lock({self._key})")
        except BaseException as error:
            # psycopg and psycopg2 name the state, others have it in the error's text.
            cause = getattr(error, "orig", None)
            state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
            if _LOCK_TIMEOUT in (state or str(cause)):
                return False
            self.release()
            raise
        return True

    def renew(self) -> None:
        """Takes the lock again where its connection was lost, however long that takes."""
        if self._connection is not None:
            try:
                self._connection.exec_driver_sql("SELECT 1")
                return
            except sqlalchemy.exc.SQLAlchemyError:
                self.release()  # it is gone, and so is the lock
        while not self.acquire():
            pass

    def release(self) -> None:
        """Gives the lock back with its connection; whatever has become of that."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
            with contextlib.suppress(Exception):
                connection.close()
