"""`python -m dashboards.report --study dark --out report.html`: a study as one file, for offline.

The front with each network's drawing and pictures, before and after, what the genes do, and how
all was measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dashboards.page import GENERATOR, LIMIT, build_page, counted, size
from dashboards.study.artifacts import Artifacts, artifacts_folder
from dashboards.study.reader import Parser, command, open_study, url_of
from dashboards.study.records import read_records
from nas.study import InputError

EXAMPLE = "python -m dashboards.report --study dark --out report.html"
# Bytes at a page's start that name what wrote it.
HEAD = 1000


def check_out(out: Path) -> None:
    """InputError where no report may be written: only an earlier report is replaced."""
    if not out.parent.is_dir():
        raise InputError(
            f"--out needs a folder that exists, but there is no {out.parent}; make it first"
        )
    if out.is_dir():
        raise InputError(
            f"--out must be a file, but {out} is a folder; give {out / 'report.html'}"
        )
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out must end in .html, but got {out}; rename it")
    head = b""
    try:
        if out.exists():
            with out.open("rb") as file:
                head = file.read(HEAD)
    except OSError as error:
        raise InputError(
            f"{out} must be readable, but: {error.strerror}; choose another --out"
        ) from error
    if head and GENERATOR.encode() not in head:
        raise InputError(
            f"--out must be new or an earlier report, but {out} is another page; rename it"
        )


def write(page: str, out: Path) -> None:
    """Writes `page` as a whole or not at all; InputError where the disk won't take it."""
    try:
        handle, name = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
        partial = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(page)
            partial.chmod(0o644)
            os.replace(partial, out)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"{out} must be writable, but: {error.strerror}; choose another --out"
        ) from error


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    parser = Parser(prog="python -m dashboards.report", description=__doc__, example=EXAMPLE)
    folder = "folder of its trials' pictures and drawings (default: RUNS/STUDY/artifacts)"
    parser.add_argument("--artifacts", type=Path, metavar="DIR", help=folder)
    out = "file to write (report.html); an earlier report is replaced"
    parser.add_argument("--out", type=Path, default=Path("report.html"), help=out)
    args = parser.parse_args(argv)
    check_out(args.out)
    study = read_records(open_study(args.study, url_of(args)))
    if study.records and not study.ours:
        raise InputError(
            f"study {args.study!r} must be one of nas.search, but another tool made its "
            f"{counted(len(study.records), 'trial')}; look at it in optuna-dashboard"
        )
    if args.artifacts is not None and not args.artifacts.is_dir():
        raise InputError(
            f"--artifacts must be a folder, but there is no {args.artifacts}; leave it out for "
            "the default"
        )
    artifacts = Artifacts(args.artifacts or artifacts_folder(args.study, args.runs, args.storage))
    page = build_page(study, artifacts, runs=args.runs, storage=args.storage)
    write(page, args.out)
    large = len(page.encode())
    more = f", more than the {size(LIMIT)} that mail takes" if large > LIMIT else ""
    print(f"wrote {args.out}: {counted(len(study.points), 'network')}, {size(large)}{more}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
