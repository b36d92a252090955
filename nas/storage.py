"""The database that holds a study: opened patiently, and its many ways to fail told in one line.

A password in its URL is never shown.
"""

from __future__ import annotations

import warnings
import weakref
from pathlib import Path

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url

from nas.command import is_disk_full, one_line
from space import InputError

# Seconds that a writer waits for another (a dashboard, a second search) before it gives up on a SQLite file.
SQLITE_TIMEOUT_S = 60
EXAMPLE = "sqlite:///runs/dark/study.db"


def default_url(folder: Path) -> str:
    """The URL of the SQLite file in a study's folder."""
    return URL.create("sqlite", database=str(folder / "study.db")).render_as_string()


def shown(url: str) -> str:
    """`url` fit for a terminal or a log: its password, if it has one, is replaced by stars."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except Exception:  # not a URL: it could still hold a password, in a place nobody knows
        return url if "@" not in url else "(a URL that can't be read)"


def open_storage(url: str) -> RDBStorage:
    """The storage at `url`, its tables made where they were missing; InputError where it can't be used."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise InputError(f"storage must be an SQLAlchemy URL such as {EXAMPLE}, but got {shown(url)!r}") from error
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and (parsed.database in (None, "", ":memory:")):
        raise InputError(f"storage must be a database that lasts, but {shown(url)!r} is in memory; give e.g. {EXAMPLE}")
    connect_args = {"timeout": SQLITE_TIMEOUT_S} if sqlite else {}
    try:
        # Optuna fills "{SCHEMA_VERSION}" into URLs: braces in a folder's name must not be taken for it.
        escaped = url.replace("{", "{{").replace("}", "}}")
        storage = RDBStorage(escaped, engine_kwargs={"connect_args": connect_args})
    except InputError:
        raise
    except Exception as error:
        raise storage_error(error, url) from error
    # A server's connections should be closed, not dropped, when nobody needs the storage any more.
    weakref.finalize(storage, storage.engine.dispose)
    if sqlite:
        _write_ahead(storage)
    return storage


def storage_error(error: BaseException, url: str) -> InputError:
    """The one line for anything that a database raised."""
    name, why = shown(url), _scrubbed(_reason(error), url)
    low = why.lower()
    if is_disk_full(error):
        return InputError(f"the disk that holds {name} is full; free some space, then the same command goes on")
    if "readonly" in low or "read-only" in low:
        return InputError(f"storage {name} is read-only; make it writable, or give another --storage")
    if "unable to open database file" in low:
        return InputError(f"storage {name} can't be opened; its folder must exist and be writable")
    if "not a database" in low:
        return InputError(f"storage {name} is no SQLite database; give another --storage")
    if "locked" in low:
        return InputError(f"storage {name} has been locked for {SQLITE_TIMEOUT_S} s; close the program that holds it")
    if isinstance(error, sqlalchemy.exc.NoSuchModuleError):
        return InputError(f"storage {name} needs a database that SQLAlchemy knows, but: {why}; give e.g. {EXAMPLE}")
    if isinstance(error, ImportError):
        missing = getattr(error.__cause__, "name", None) or getattr(error, "name", None) or why
        return InputError(f"storage {name} needs the Python package {missing}; install it, or give e.g. {EXAMPLE}")
    if isinstance(error, RuntimeError) and "version" in low:
        return InputError(f"storage {name} was made by another version of Optuna: {why}")
    return InputError(f"storage {name} can't be used: {why}; check the URL and that its server runs")


def is_storage_error(error: BaseException) -> bool:
    """Whether a database raised `error` (rather than a trial)."""
    return isinstance(error, (optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError))


def _write_ahead(storage: RDBStorage) -> None:
    # With a write-ahead log a dashboard can read while a trial is being told. Not every file system can do
    # it (and a read-only file cannot be changed): the usual journal is right as well, only less smooth.
    # What was written goes into the file itself at once, so that a copy of study.db alone, made whenever, holds all.
    sqlalchemy.event.listen(storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA wal_autocheckpoint=1"))
    storage.engine.dispose()  # connections made so far don't know this yet
    try:
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    except sqlalchemy.exc.SQLAlchemyError as error:
        if is_disk_full(error):
            raise storage_error(error, storage.url) from error


def _reason(error: BaseException) -> str:
    """The driver's own words: the innermost DBAPI error's first lines, without SQLAlchemy's links."""
    innermost: BaseException = error
    while innermost.__cause__ is not None and innermost.__cause__ is not innermost:
        innermost = innermost.__cause__
    original = getattr(innermost, "orig", None) or innermost
    return one_line(original)[:300] or type(original).__name__


def _scrubbed(text: str, url: str) -> str:
    try:
        password = make_url(url).password
    except Exception:
        return text
    return text.replace(str(password), "***") if password else text


def quiet_optuna() -> None:
    """Optuna's own log lines and its notices about experimental functions, kept from the user's terminal."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
