"""The database of a study: opened once, then called with retries, and each way to fail explained
in one line, without the password that its URL may hold.
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
from nas.study.fast_storage import FastStorage
from nas.study.retrying_storage import NoAnswerError, Retry, RetryingStorage, to_stderr
from space import InputError

# Seconds that a writer of a SQLite file waits for another (a dashboard, a second search).
SQLITE_TIMEOUT_S = 60
# Worker processes that one SQLite file bears: with trials of 2 s, eight report the most in a
# second; with sixteen a write waits ten seconds and more (tests/benchmarks/sqlite_workers.py).
MOST_SQLITE_WORKERS = 8
# Processes that make the tables of a fresh database at the same time lose at most so many races.
TABLES_ATTEMPTS = 20
EXAMPLE = "sqlite:///runs/dark/study.db"


def default_url(folder: Path) -> str:
    """The URL of the SQLite file in a study's folder."""
    return URL.create("sqlite", database=str(folder / "study.db")).render_as_string()


def mask_password(url: str) -> str:
    """`url` fit for a terminal or a log, with stars for its password, wherever it has one."""
    try:
        parsed = make_url(url)
    except Exception:  # not a URL: it could still hold a password, in a place nobody knows
        return "(a URL that can't be read)" if "@" in url or _is_secret(url) else url
    if _has_raw_at(url, parsed):
        return re.sub(r"//([^:/]*):.*@", r"//\1:***@", url)
    query = {key: "***" if _is_secret(key) else value for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def open_storage(
    url: str,
    *,
    heartbeat_s: float = 60.0,
    report: Callable[[str], None] | None = None,
    stop: StopSignal | None = None,
    is_known: bool = False,
) -> RetryingStorage:
    """The storage at `url`, its tables made where they were missing; InputError where it can't be
    used.

    A database that does not answer at first is an error at once, unless it `is_known` to be right
    (a worker's, whose coordinator has used it). One that stops answering later is waited for:
    `report` is called (from any thread; default: stderr) when the waiting begins and ends, and
    NoAnswerError comes after 15 minutes, or after 5 s when `stop` says that the process must
    stop. Running trials record a heartbeat every `heartbeat_s`; after three of them a silent trial
    counts as dead.
    """
    parsed = _parse(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite and (parsed.database in (None, "", ":memory:")):
        name = mask_password(url)
        raise InputError(
            f"storage must be a database that lasts, but got {name!r}; give e.g. {EXAMPLE}"
        )
    retry = Retry(
        name=f"storage {mask_password(url)}",
        explain=functools.partial(storage_error, url=url),
        report=report or to_stderr,
        stop=stop or StopSignal(),
    )
    # Optuna calls heartbeats experimental, and warns in every ask that only Study.optimize records
    # them: nas/loop/claim.py does.
    warnings.filterwarnings("ignore", message="(?s).*heartbeat_interval.*experimental")
    warnings.filterwarnings("ignore", message="Heartbeat of storage is supposed")
    open_once = functools.partial(_open, parsed, retry, heartbeat_s)
    try:
        storage = retry.call(lambda _: open_once()) if is_known else open_once()
    except InputError:
        raise
    except Exception as error:
        raise storage_error(error, url) from error
    # A server's connections should be closed, not dropped, when nobody needs the storage any more.
    weakref.finalize(storage, storage.engine.dispose)
    if sqlite:
        _write_ahead(storage)
    return storage


def open_to_look(url: str, *, writable: bool = False) -> FastStorage:
    """The storage at `url`, read-only unless `writable`, without retries; InputError where there
    is none or it can't be read.

    SQLite files are opened in read-only mode, PostgreSQL in read-only transactions: no bug of ours
    can change a study.
    """
    parsed = check_there(url)
    options: dict[str, Any] = {}
    if parsed.get_backend_name() == "sqlite":
        options["timeout"] = SQLITE_TIMEOUT_S
        if not writable and parsed.database and "uri" not in parsed.query:
            file = Path(parsed.database).resolve().as_uri()
            parsed = parsed.set(database=file, query={"mode": "ro", "uri": "true"})
    elif parsed.get_backend_name() == "postgresql" and not writable:
        options["options"] = "-c default_transaction_read_only=on"
    quiet_optuna()
    engine_kwargs = {"connect_args": options}
    try:
        return FastStorage(_escaped(parsed), engine_kwargs, skip_table_creation=not writable)
    except Exception as error:
        raise storage_error(error, url) from error


def check_there(url: str) -> URL:
    """`url`, parsed; InputError where it is none, or names a SQLite file that does not exist, of
    which Optuna would make an empty one.
    """
    parsed = _parse(url)
    is_file = parsed.get_backend_name() == "sqlite" and "uri" not in parsed.query
    if is_file and not (parsed.database and Path(parsed.database).is_file()):
        raise InputError(
            f"there is no study at {mask_password(url)}; run nas.search, or change --storage"
        )
    return parsed


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except Exception as error:
        raise InputError(
            f"storage must be an SQLAlchemy URL such as {EXAMPLE}, but got {mask_password(url)!r}"
        ) from error
    if _has_raw_at(url, parsed):
        raise InputError(
            f"storage {mask_password(url)} must have one @, before the host, but has "
            f"{url.count('@')}; write a password's @ as %40 (and its / as %2F)"
        )
    return parsed


def _escaped(url: URL) -> str:
    # Optuna fills "{SCHEMA_VERSION}" into URLs: other braces must not be taken for it.
    return url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")


def _open(url: URL, retry: Retry, heartbeat_s: float) -> RetryingStorage:
    options: dict[str, Any] = {"engine_kwargs": _engine_options(url)}
    options |= {"heartbeat_interval": heartbeat_s, "grace_period": 3 * heartbeat_s}
    attempts_left = TABLES_ATTEMPTS
    while True:
        attempts_left -= 1
        try:
            return RetryingStorage(_escaped(url), retry=retry, **options)
        except (sqlalchemy.exc.DBAPIError, optuna.exceptions.StorageInternalError) as error:
            # Another process makes the same tables just now, which no database does atomically.
            raced = re.search("already exists|duplicate|unique", _reason(error), re.IGNORECASE)
            if not raced or not attempts_left:
                raise
        time.sleep(random.uniform(0.05, 0.3))


def _engine_options(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": SQLITE_TIMEOUT_S}}
    # One connection stays open, of about a hundred that servers grant; a heartbeat or a lock opens
    # another for as long as it needs one.
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 1, "max_overflow": 10}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        # A server that vanishes without a word (power, network) must be noticed in a minute.
        keepalives = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
        limits = {"connect_timeout": 10, "tcp_user_timeout": 60_000, **keepalives}
        options["connect_args"] = {k: v for k, v in limits.items() if k not in url.query}
    return options


def check_workers(url: str, count: int) -> None:
    """InputError where `count` worker processes are more than the database at `url` bears."""
    if url.startswith("sqlite") and count > MOST_SQLITE_WORKERS:
        raise InputError(
            f"a SQLite file bears at most {MOST_SQLITE_WORKERS} workers, not {count}; use fewer, "
            "or --storage postgresql+psycopg://USER@HOST/DATABASE"
        )


def storage_error(error: BaseException, url: str) -> InputError:
    """The one line for anything that a database raised."""
    if isinstance(error, NoAnswerError):
        return error
    name, why = f"storage {mask_password(url)}", _without_password(_reason(error), url)
    low = why.lower()
    if is_disk_full(error):
        text = f"the disk with {name} is full; free some space, then run this again"
    elif "readonly" in low or "read-only" in low:
        text = f"{name} is read-only; make it writable, or give another --storage"
    elif "unable to open database file" in low:
        text = f"{name} can't be opened; its folder must exist and be writable"
    elif "not a database" in low:
        text = f"{name} is no SQLite database; give another --storage"
    elif "locked" in low:
        text = f"{name} has been locked for {SQLITE_TIMEOUT_S} s; close the program that holds it"
    elif isinstance(error, sqlalchemy.exc.NoSuchModuleError):
        text = f"{name} needs a database that SQLAlchemy knows, but: {why}; give e.g. {EXAMPLE}"
    elif isinstance(error, ImportError):
        package = getattr(error.__cause__, "name", None) or getattr(error, "name", None) or why
        text = f"{name} needs the Python package {package}; install it, or give e.g. {EXAMPLE}"
    elif isinstance(error, RuntimeError) and "version" in low:
        text = f"{name} was made by another version of Optuna: {why}"
    else:
        text = f"{name} can't be used: {why}; check the URL and that its server runs"
    return InputError(text)


def is_storage_error(error: BaseException) -> bool:
    """Whether a database raised `error` (rather than a trial)."""
    of_storage = optuna.exceptions.StorageInternalError, sqlalchemy.exc.SQLAlchemyError
    return isinstance(error, (NoAnswerError, *of_storage))


def _write_ahead(storage: RetryingStorage) -> None:
    # With a write-ahead log a dashboard can read while a trial is being written. Not every file
    # system can do it (nor a read-only file): the usual journal is right too, only less smooth.
    # The disk is waited for when a trial ends, not at each of its hundred writes: those survive
    # the process without it, and a power cut takes no more than what runs.
    sqlalchemy.event.listen(
        storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous=NORMAL")
    )
    storage.engine.dispose()  # connections made so far don't know this yet
    storage.on_finished = functools.partial(_checkpoint, storage.engine)
    try:
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    except sqlalchemy.exc.SQLAlchemyError as error:
        if is_disk_full(error):
            raise storage_error(error, str(storage.url)) from error


def _checkpoint(engine: sqlalchemy.Engine) -> None:
    """Writes the log to the file on the disk: a copy of study.db holds every finished trial."""
    with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError), engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def _reason(error: BaseException) -> str:
    """The driver's own words: those of the innermost error, without SQLAlchemy's links."""
    innermost: BaseException = error
    while innermost.__cause__ is not None and innermost.__cause__ is not innermost:
        innermost = innermost.__cause__
    original = getattr(innermost, "orig", None) or innermost
    return one_line(original)[:300] or type(original).__name__


def _without_password(text: str, url: str) -> str:
    """`text` without the URL's password, in whatever spelling a driver repeats it."""
    try:
        parsed = make_url(url)
    except Exception:
        return text
    values = [parsed.password, *(value for key, value in parsed.query.items() if _is_secret(key))]
    for secret in (str(value) for value in values if value):
        # The last is that of PostgreSQL's connection strings.
        escaped = repr(secret)[1:-1], secret.replace("\\", "\\\\").replace("'", "\\'")
        for spelling in (secret, quote(secret), quote(secret, ""), quote_plus(secret), *escaped):
            text = text.replace(spelling, "***")
    return text


def _has_raw_at(text: str, url: URL) -> bool:
    """Whether a password with an "@" that isn't percent-encoded was read as the host or query."""
    return url.get_backend_name() != "sqlite" and text.count("@") > 1


def _is_secret(text: str) -> bool:
    return any(word in text.lower() for word in ("pass", "pwd", "secret", "token"))


def quiet_optuna() -> None:
    """Keeps Optuna's log lines and notices about experimental functions from the terminal."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
