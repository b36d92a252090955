"""The database that holds a study: opened once, then asked patiently, and its many ways to fail
told in one line.

A password in its URL is never shown.
"""

from __future__ import annotations

import contextlib
import functools
import random
import re
import time
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import optuna
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from nas.cli.parser import is_disk_full, one_line
from nas.cli.signals import StopSignal
from nas.study.retrying_storage import NoAnswerError, Retry, RetryingStorage, to_stderr
from space import InputError

# Seconds that a writer waits for another (a dashboard, a second search) before it gives up on a
# SQLite file.
SQLITE_TIMEOUT_S = 60
# Worker processes that one SQLite file bears: with trials of 2 s, eight tell the most in a second,
# sixteen fewer, and a write then waits ten seconds and more (tests/benchmarks/sqlite_workers.py,
# on two cores).
MOST_SQLITE_WORKERS = 8
# Processes that may make the tables of a fresh database at the same time lose this many races, not
# more.
TABLES_ATTEMPTS = 20
EXAMPLE = "sqlite:///runs/dark/study.db"


def default_url(folder: Path) -> str:
    """The URL of the SQLite file in a study's folder."""
    return URL.create("sqlite", database=str(folder / "study.db")).render_as_string()


def shown(url: str) -> str:
    """`url` fit for a terminal or a log: its password, wherever it has one, is replaced by stars."""
    try:
        parsed = make_url(url)
    except Exception:  # not a URL: it could still hold a password, in a place nobody knows
        return "(a URL that can't be read)" if "@" in url or _is_secret(url) else url
    if _spills(url, parsed):
        return re.sub(r"//([^:/]*):.*@", r"//\1:***@", url)
    query = {key: "***" if _is_secret(key) else value for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def open_storage(
    url: str,
    *,
    heartbeat_s: float = 60.0,
    tell: Callable[[str], None] | None = None,
    asked: StopSignal | None = None,
    is_known: bool = False,
) -> RetryingStorage:
    """The storage at `url`, its tables made where they were missing; InputError where it can't be
    used.

    A database that does not answer at first is an error at once, unless it `is_known` to be right
    (a worker's, whose coordinator has used it). One that stops answering later is waited for, and
    `tell` is called (from any thread; on stderr without it) when the waiting begins and ends;
    NoAnswerError comes after 15 minutes, or after 5 s when `asked` says that the process was asked
    to stop. Running trials record a heartbeat every `heartbeat_s`; after three of them a silent
    trial counts as dead.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise InputError(
            f"storage must be an SQLAlchemy URL such as {EXAMPLE}, but got {shown(url)!r}"
        ) from error
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and (parsed.database in (None, "", ":memory:")):
        raise InputError(
            f"storage must be a database that lasts, but {shown(url)!r} is in memory; "
            f"give e.g. {EXAMPLE}"
        )
    if _spills(url, parsed):
        raise InputError(
            f"storage {shown(url)} must have one @, before the host, but it has "
            f"{url.count('@')}; write those of "
            "the password as %40 (and a / as %2F)"
        )
    patience = Retry(
        name=f"storage {shown(url)}",
        explain=functools.partial(storage_error, url=url),
        tell=tell or to_stderr,
        asked=asked or StopSignal(),
    )
    # Optuna calls heartbeats experimental, and warns in every ask that only Study.optimize records
    # them: nas/loop/heartbeat.py does.
    warnings.filterwarnings("ignore", message="(?s).*heartbeat_interval.*experimental")
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
    open_once = functools.partial(_open, url, parsed, patience, heartbeat_s)
    try:
        storage = patience.call(lambda _: open_once()) if is_known else open_once()
    except InputError:
        raise
    except Exception as error:
        raise storage_error(error, url) from error
    # A server's connections should be closed, not dropped, when nobody needs the storage any more.
    weakref.finalize(storage, storage.engine.dispose)
    if sqlite:
        _write_ahead(storage)
    return storage


def _open(url: str, parsed: URL, patience: Retry, heartbeat_s: float) -> RetryingStorage:
    # Optuna fills "{SCHEMA_VERSION}" into URLs: braces in a folder's name must not be taken for
    # it.
    escaped = url.replace("{", "{{").replace("}", "}}")
    for attempts_left in range(TABLES_ATTEMPTS - 1, -1, -1):
        try:
            return RetryingStorage(
                escaped,
                patience=patience,
                engine_kwargs=_engine_options(parsed),
                heartbeat_interval=heartbeat_s,
                grace_period=3 * heartbeat_s,
            )
        except (sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError) as error:
            # Another process makes the same tables just now, which no database does atomically for
            # both.
            raced = re.search("already exists|duplicate|unique", _reason(error), re.IGNORECASE)
            if not raced or not attempts_left:
                raise
        time.sleep(random.uniform(0.05, 0.3))
    raise AssertionError("the last attempt returns or raises")


def _engine_options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_TIMEOUT_S}}
    # One connection stays open: a search asks from one thread, and servers grant about a hundred.
    # More are opened for as long as a heartbeat or a lock needs them.
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 10}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        # A server that vanishes without a word (power, network) must be noticed in a minute, not
        # after the system's hours.
        wanted = {
            "connect_timeout": 10,
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": 60_000,
        }
        options["connect_args"] = {
            key: value for key, value in wanted.items() if key not in url.query
        }
    return options


def check_workers(url: str, count: int) -> None:
    """Raises InputError where `count` worker processes are more than the database at `url` bears."""
    if url.startswith("sqlite") and count > MOST_SQLITE_WORKERS:
        raise InputError(
            f"a SQLite file bears at most {MOST_SQLITE_WORKERS} workers, but {count} were "
            f"asked for; use fewer "
            "workers, or a server with --storage postgresql+psycopg://USER@HOST/DATABASE"
        )


def storage_error(error: BaseException, url: str) -> InputError:
    """The one line for anything that a database raised."""
    if isinstance(error, NoAnswerError):
        return error
    name, why = shown(url), _scrubbed(_reason(error), url)
    low = why.lower()
    if is_disk_full(error):
        return InputError(
            f"the disk that holds {name} is full; free some space, then the same command goes on"
        )
    if "readonly" in low or "read-only" in low:
        return InputError(
            f"storage {name} is read-only; make it writable, or give another --storage"
        )
    if "unable to open database file" in low:
        return InputError(f"storage {name} can't be opened; its folder must exist and be writable")
    if "not a database" in low:
        return InputError(f"storage {name} is no SQLite database; give another --storage")
    if "locked" in low:
        return InputError(
            f"storage {name} has been locked for {SQLITE_TIMEOUT_S} s; close the program "
            f"that holds it"
        )
    if isinstance(error, sqlalchemy.exc.NoSuchModuleError):
        return InputError(
            f"storage {name} needs a database that SQLAlchemy knows, but: {why}; give "
            f"e.g. {EXAMPLE}"
        )
    if isinstance(error, ImportError):
        missing = getattr(error.__cause__, "name", None) or getattr(error, "name", None) or why
        return InputError(
            f"storage {name} needs the Python package {missing}; install it, or give e.g. "
            f"{EXAMPLE}"
        )
    if isinstance(error, RuntimeError) and "version" in low:
        return InputError(f"storage {name} was made by another version of Optuna: {why}")
    return InputError(
        f"storage {name} can't be used: {why}; check the URL and that its server runs"
    )


def is_storage_error(error: BaseException) -> bool:
    """Whether a database raised `error` (rather than a trial)."""
    return isinstance(
        error,
        (NoAnswerError, optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError),
    )


def _write_ahead(storage: RetryingStorage) -> None:
    # With a write-ahead log a dashboard can read while a trial is being told. Not every file
    # system can do it (and a read-only file cannot be changed): the usual journal is right as
    # well, only less smooth. The disk is waited for once a trial, when it is told, not at each of
    # its hundred writes: those survive the process without it, and a power cut takes no more than
    # what runs.
    sqlalchemy.event.listen(
        storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=NORMAL")
    )
    storage.engine.dispose()  # connections made so far don't know this yet
    storage.on_told = functools.partial(_fold, storage.engine)
    try:
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    except sqlalchemy.exc.SQLAlchemyError as error:
        if is_disk_full(error):
            raise storage_error(error, storage.url) from error


def _fold(engine: sqlalchemy.Engine) -> None:
    """What was written goes into the file itself and onto the disk, so that a copy of study.db
    alone holds every told trial.
    """
    with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def _reason(error: BaseException) -> str:
    """The driver's own words: the innermost DBAPI error's first lines, without SQLAlchemy's links."""
    innermost: BaseException = error
    while innermost.__cause__ is not None and innermost.__cause__ is not innermost:
        innermost = innermost.__cause__
    original = getattr(innermost, "orig", None) or innermost
    return one_line(original)[:300] or type(original).__name__


def _scrubbed(text: str, url: str) -> str:
    """`text` without the URL's password, in whatever spelling a driver repeats it."""
    try:
        parsed = make_url(url)
    except Exception:
        return text
    values = [parsed.password, *(value for key, value in parsed.query.items() if _is_secret(key))]
    for secret in (str(value) for value in values if value):
        escaped = secret.replace("\\", "\\\\").replace(
            "'", "\\'"
        )  # as in PostgreSQL's connection strings
        for spelling in (
            secret,
            quote(secret),
            quote(secret, safe=""),
            quote_plus(secret),
            repr(secret)[1:-1],
            escaped,
        ):
            text = text.replace(spelling, "***")
    return text


def _spills(text: str, url: URL) -> bool:
    """Whether a password with an "@" that isn't percent-encoded was read as the host, or even the
    query.
    """
    return url.get_backend_name() != "sqlite" and text.count("@") > 1


def _is_secret(text: str) -> bool:
    return any(word in text.lower() for word in ("pass", "pwd", "secret", "token"))


def quiet_optuna() -> None:
    """Optuna's own log lines and its notices about experimental functions, kept from the user's
    terminal.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
