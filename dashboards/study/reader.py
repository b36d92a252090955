"""What the commands share: the flags that name a study, one-line errors, a study to be read."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import optuna

from dashboards.study.read_only import ReadOnlyStorage
from nas.study import InputError
from nas.study.reader import load_study
from nas.study.storage import default_url, open_to_look


class Parser(argparse.ArgumentParser):
    """A parser with --study, --storage and --runs; its errors are InputErrors, one line each."""

    def __init__(self, *, prog: str, description: str | None, example: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=f"example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument("--study", required=True, help="the study's name")
        url = "SQLAlchemy URL of its database (default: sqlite:///RUNS/STUDY/study.db)"
        self.add_argument("--storage", help=url)
        runs = "where studies keep their files (runs)"
        self.add_argument("--runs", type=Path, default=Path("runs"), help=runs)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def command(main: Callable[[Sequence[str]], int]) -> Callable[[Sequence[str]], int]:
    """`main`, but with exit status 2 and one line on stderr for an InputError."""

    @functools.wraps(main)
    def run(argv: Sequence[str]) -> int:
        try:
            return main(argv)
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2

    return run


def url_of(args: argparse.Namespace) -> str:
    """The database that --study, --storage and --runs mean."""
    url: str = args.storage or default_url(args.runs / args.study)
    return url


def open_study(name: str, url: str) -> optuna.Study:
    """The study `name` at `url`, read-only; InputError where there is none."""
    return load_study(name, ReadOnlyStorage(open_to_look(url)), url)
