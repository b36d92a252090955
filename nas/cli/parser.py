"""What every command shares: flags, one-line errors, and a clean end on Ctrl-C.

A command is a function `main(argv) -> exit status`; `run` calls it. Status 0 is success, 2 an
input that can't be used (one line on stderr), 130 a Ctrl-C; any other error is a bug and shows its
traceback.
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
    """An argument parser whose errors are InputErrors, one line like all others."""

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
    storage = "SQLAlchemy URL of the study's database (default: RUNS/STUDY/study.db)"
    parser.add_argument("--storage", help=storage)
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
        # The reader has gone (`| head`): no error, but Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        message = explain(error)
        if message is None:
            raise
        print(f"error: {one_line(message)}", file=sys.stderr)
        return EXIT_INPUT


def explain(error: BaseException) -> str | None:
    """What a user can do about `error`; None where it is a bug."""
    if isinstance(error, InputError):
        return str(error)
    if is_disk_full(error):
        files = [e.filename for e in _causes(error) if isinstance(e, OSError) and e.filename]
        where = f" ({files[0]})" if files else ""
        return f"the disk is full{where}; free some space, then run the command again"
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        file = error.filename or "a file"
        return f"{file} must be writable, but: {error.strerror}; choose another place"
    return None


def is_disk_full(error: BaseException) -> bool:
    """Whether `error` or its cause is a full disk or quota, also in SQLite's and Rust's words."""
    return any(
        (isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT))
        or "database or disk is full" in str(e)
        or "No space left on device" in str(e)
        for e in _causes(error)
    )


def one_line(text: object) -> str:
    """`text` with every run of white space as one space."""
    return " ".join(str(text).split())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
