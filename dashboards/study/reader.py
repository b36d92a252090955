"""A study's database, opened to be read and never to be written, with one line where that can't
be.

SQLite files are opened in read-only mode, PostgreSQL in read-only transactions: no bug of ours can
change a study. The commands' errors and flags that all share are here too.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url

from dashboards.study.read_only import ReadOnlyStorage

# The folder beside a study's database with the files that its trials left (written by
# nas/outputs/store.py).
ARTIFACTS = "artifacts"
# Seconds to wait for a search that is writing just then.
TIMEOUT_S = 60


class DashboardError(Exception):
    """Something that the user can mend; the message is one line and says how."""


class Parser(argparse.ArgumentParser):
    """Tells wrong flags in one line; its help ends with `example`."""

    def __init__(self, *, prog: str, description: str | None, example: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        raise DashboardError(f"{message}; see {self.prog} --help")

    def add_study(self) -> None:
        """--study, --storage, --runs: which study."""
        self.add_argument("--study", required=True, help="the study's name")
        self.add_argument(
            "--storage",
            help="SQLAlchemy URL of its database (default: sqlite:///RUNS/STUDY/study.db)",
        )
        self.add_argument(
            "--runs", type=Path, default=Path("runs"), help="where studies keep their files (runs)"
        )


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """`main(argv)`'s exit status; 2 and one line on stderr for a DashboardError."""
    import sys

    try:
        return main(argv)
    except DashboardError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def default_url(study: str, runs: Path) -> str:
    """The URL of the SQLite file in a study's folder."""
    return URL.create("sqlite", database=str(runs / study / "study.db")).render_as_string()


def shown(url: str) -> str:
    """`url` fit for a terminal: its password, wherever it has one, is replaced by stars (as in
    nas/study/storage.py).
    """
    try:
        parsed = make_url(url)
    except Exception:
        return "(a URL that can't be read)" if "@" in url or _is_secret(url) else url
    if _spills(url, parsed):
        return re.sub(r"//([^:/]*):.*@", r"//\1:***@", url)
    query = {key: "***" if _is_secret(key) else value for key, value in parsed.query.items()}
    return parsed.set(query=query).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def _spills(text: str, url: URL) -> bool:
    """Whether a password with an "@" that isn't percent-encoded was read as the host, or even the
    query.
    """
    return url.get_backend_name() != "sqlite" and text.count("@") > 1


def _is_secret(text: str) -> bool:
    return any(word in text.lower() for word in ("pass", "pwd", "secret", "token"))


def open_storage(url: str, *, writable: bool = False) -> RDBStorage:
    """The storage at `url`, read-only unless `writable`; DashboardError where there is none or it
    can't be read.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise DashboardError(
            f"--storage must be an SQLAlchemy URL such as sqlite:///runs/dark/study.db, but got "
            f"{shown(url)!r}"
        ) from error
    if _spills(url, parsed):
        raise DashboardError(
            f"--storage {shown(url)} must have one @, before the host, but it has "
            f"{url.count('@')}; write "
            "those of the password as %40 (and a / as %2F)"
        )
    connect_args: dict[str, object] = {}
    if parsed.get_backend_name() == "sqlite":
        if "uri" not in parsed.query:
            if not (parsed.database and Path(parsed.database).is_file()):
                # Optuna would make an empty database where there is none.
                raise DashboardError(
                    f"there is no study at {shown(url)}; run python -m nas.search first, "
                    f"or give its "
                    "--storage or --runs"
                )
            if not writable:
                parsed = parsed.set(
                    database=Path(parsed.database).resolve().as_uri(),
                    query={"mode": "ro", "uri": "true"},
                )
        connect_args["timeout"] = TIMEOUT_S
    elif parsed.get_backend_name() == "postgresql" and not writable:
        connect_args["options"] = "-c default_transaction_read_only=on"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Optuna fills "{SCHEMA_VERSION}" into URLs: braces in a folder's name must not be taken for
    # it.
    rendered = parsed.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    try:
        return RDBStorage(
            rendered,
            engine_kwargs={"connect_args": connect_args},
            skip_table_creation=not writable,
        )
    except Exception as error:
        raise unreadable(url, error) from error


def open_study(name: str, url: str) -> optuna.Study:
    """The study `name` at `url`, read-only; DashboardError with the names that are there where it
    isn't.
    """
    storage = ReadOnlyStorage(open_storage(url))
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        there = (
            ", ".join(sorted(study.study_name for study in storage.get_all_studies())) or "none"
        )
        raise DashboardError(
            f"there is no study {name!r} in {shown(url)}; there are: {there}"
        ) from error
    except Exception as error:
        raise unreadable(url, error) from error


def unreadable(url: str, error: BaseException) -> DashboardError:
    """The one line for whatever a database raised."""
    innermost: BaseException = error
    while innermost.__cause__ is not None and innermost.__cause__ is not innermost:
        innermost = innermost.__cause__
    lines = str(innermost).strip().splitlines()
    why = lines[0] if lines else type(innermost).__name__
    parsed = make_url(url)
    for password in (
        parsed.password,
        *(value for key, value in parsed.query.items() if _is_secret(key)),
    ):
        if password:
            why = why.replace(str(password), "***")
    return DashboardError(
        f"storage {shown(url)} can't be read: {why}; check the URL and that its server runs"
    )
