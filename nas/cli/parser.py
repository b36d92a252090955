"""The edge that every command shares: one line for what a user can mend, and a clean end on
Ctrl-C.

A command is a function `main(argv) -> exit status`; `run` calls it. Status 0 is success, 2 an
input that can't be used (told in one line on stderr), 130 a Ctrl-C; anything else is a bug and
shows its traceback.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from space import InputError

EXIT_INPUT = 2
EXIT_INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other error of a command."""

    def __init__(self, *, example: str, **kwargs: object) -> None:
        super().__init__(
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **kwargs,  # type: ignore[arg-type]
        )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def add_storage_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --storage and --runs: where studies are."""
    at = "SQLAlchemy URL of the study's database (default: RUNS/STUDY/study.db)"
    parser.add_argument("--storage", help=at)
    runs = "where studies keep their files (runs)"
    parser.add_argument("--runs", type=Path, default=Path("runs"), help=runs)


def run(main: Callable[[list[str]], int], argv: Sequence[str] | None = None) -> int:
    """The exit status of `main(argv)`; errors that a user can mend become one line on stderr."""
    try:
        return main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): not an error, but Python would complain again while it
        # flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"error: {one_line(message)}", file=sys.stderr)
        return EXIT_INPUT


def explain(error: BaseException) -> str | None:
    """What a user can do about `error`, or None where it is not theirs to mend (a bug)."""
    if isinstance(error, InputError):
        return str(error)
    if is_disk_full(error):
        named = next(
            (str(e.filename) for e in _causes(error) if isinstance(e, OSError) and e.filename),
            None,
        )
        return (
            f"the disk is full{f' ({named})' if named else ''}; free some space, then run "
            f"the command again"
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return (
            f"{error.filename or 'a file'} must be writable, but: {error.strerror}; choose "
            f"another place"
        )
    return None


def is_disk_full(error: BaseException) -> bool:
    """Whether `error`, or what caused it, says that a disk or a quota is full (also SQLite's and
    Rust's way).
    """
    return any(
        (isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT))
        or "database or disk is full" in str(e)
        or "No space left on device" in str(e)
        for e in _causes(error)
    )


def one_line(text: object) -> str:
    """`text` with every run of white space, line breaks included, as one space."""
    return " ".join(str(text).split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
