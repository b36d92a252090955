"""`python -m dashboards --study dark`: a study in the browser, live while a search runs.

Serves optuna-dashboard on this machine (127.0.0.1) until Ctrl-C. It reads the study and changes
nothing; with --writable notes can be edited and trials changed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

from dashboards.server import ADDRESS, listen, make_app
from dashboards.study.artifacts import artifacts_folder
from dashboards.study.reader import Parser, command, url_of
from nas.study.internals import study_id
from nas.study.reader import load_study
from nas.study.schema import ARTIFACTS
from nas.study.storage import open_to_look

EXAMPLE = "python -m dashboards --study dark"
# A viewer waits for the search on the same machine, not the other way round.
NICENESS = 10


@command
def main(argv: Sequence[str]) -> int:
    """Runs the command; its exit status."""
    parser = Parser(prog="python -m dashboards", description=__doc__, example=EXAMPLE)
    add = parser.add_argument
    add("--artifacts", type=Path, help=f"folder of the trials' files (RUNS/STUDY/{ARTIFACTS})")
    add("--port", type=int, default=8080, help="where to listen (8080)")
    add("--open", action="store_true", help="open the page in a browser")
    changes = "allow changes: notes, and whatever the page offers"
    add("--writable", action="store_true", help=changes)
    args = parser.parse_args(argv)
    url = url_of(args)
    artifacts = args.artifacts or artifacts_folder(args.study, args.runs, args.storage)
    storage = open_to_look(url, writable=args.writable)
    number = study_id(load_study(args.study, storage, url))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    # A shell starts what it puts into the background with SIGINT ignored; both end this one.
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), listen(args.port) as server:
        port = server.server_port
        server.set_app(
            make_app(
                storage, artifacts=artifacts, port=port, first_study=number, writable=args.writable
            )
        )
        page = f"http://{ADDRESS}:{port}/dashboard/studies/{number}"
        if not artifacts.is_dir():
            print(
                f"note: there is no folder {artifacts}, so the trials have no pictures; "
                "give --artifacts if it is elsewhere"
            )
        access = "changes are allowed" if args.writable else "read-only"
        print(f"{page}  ({access}; Ctrl-C ends it)", flush=True)
        if args.open:
            threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
