"""A study served to a browser on this machine: optuna-dashboard over a storage that is only read.

Nothing is written unless asked for, three times over: requests that write are refused (guard.py),
the storage refuses writes (read_only.py), and the database itself is opened read-only
(reading.py).
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from dashboards.server.guard import Application, guard
from dashboards.server.live_front import LiveFront
from dashboards.server.page_patches import patch_page
from dashboards.server.quick_detail import QuickDetail
from dashboards.study.read_only import ReadOnlyStorage
from dashboards.study.reader import DashboardError

ADDRESS = "127.0.0.1"
# The versions of optuna-dashboard whose answers quick_detail.py is known to match; others answer
# themselves.
KNOWN = "0.21."
DETAIL, AFTER = re.compile(r"/api/studies/(\d+)/?"), re.compile(r"(?:after=(\d+))?")
FILE = re.compile(r"/artifacts/(?:\d+/)?\d+/([0-9a-fA-F-]+)/?")


class Server(ThreadingMixIn, WSGIServer):
    """Each request in a thread of its own; none of them holds up the end."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is nothing to tell; all else is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_app(
    storage: RDBStorage, *, artifacts: Path, port: int, shown_first: int, writable: bool = False
) -> Application:
    """The WSGI application; DashboardError where optuna-dashboard isn't installed. The folder
    `artifacts` may be missing; `shown_first` is the number of the study whose page will be opened
    first.
    """
    try:
        from optuna_dashboard import __version__, wsgi
    except ImportError as error:
        raise DashboardError(
            "the dashboard needs the package optuna-dashboard; run pip install "
            "'optuna-dashboard>=0.20'"
        ) from error
    seen = ReadOnlyStorage(storage, writable=writable, also=LiveFront().attributes)
    app = tell_missing_files(
        wsgi(seen, artifact_store=FileSystemArtifactStore(artifacts)), artifacts
    )
    if __version__.startswith(KNOWN):
        detail = QuickDetail(seen)
        app = answer_quickly(app, detail)
        # While the browser gets the page, which is long, what the page will ask for next is read.
        threading.Thread(target=_ready, args=(detail, shown_first), daemon=True).start()
    return guard(patch_page(app), port=port, writable=writable)


def answer_quickly(app: Application, detail: QuickDetail) -> Application:
    """`app`, with the answer about a study given by `detail` where it can."""

    def answered(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = (
            DETAIL.fullmatch(environ["PATH_INFO"]) if environ["REQUEST_METHOD"] == "GET" else None
        )
        after = AFTER.fullmatch(environ.get("QUERY_STRING", ""))
        body = _ready(detail, int(asked[1]), int(after[1] or 0)) if asked and after else None
        if body is None:
            if environ["PATH_INFO"].endswith("/param_importances"):
                detail.settle()
            return app(environ, start_response)
        start_response(
            "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        )
        return [body]

    return answered


def tell_missing_files(app: Application, artifacts: Path) -> Application:
    """`app`, with 404 and a sentence for an artifact that a trial names and the folder lacks."""

    def told(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        asked = FILE.fullmatch(environ["PATH_INFO"])
        if asked is None or (artifacts / asked[1]).is_file():
            return app(environ, start_response)
        body = (
            f"There is no file {asked[1]} in {artifacts}; start the dashboard with "
            f"--artifacts if it is elsewhere.\n"
        ).encode()
        start_response(
            "404 Not Found",
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return told


def _ready(detail: QuickDetail, study_id: int, after: int = 0) -> bytes | None:
    """`detail`'s answer; None where the database failed, so that optuna-dashboard tells that in
    its own way.
    """
    try:
        return detail.answer(study_id, after)
    except Exception:
        return None


def listen(port: int) -> Server:
    """A server at 127.0.0.1:`port` (0: any free one), without an application yet; DashboardError
    that names a free port where it is taken.
    """
    if not 0 <= port <= 65535:
        raise DashboardError(
            f"--port must be within 0 to 65535, but got {port}; 8080 is the usual one"
        )
    try:
        return Server((ADDRESS, port), _Quiet)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise DashboardError(
                f"port {port} is in use; give another, such as --port {free_port(port)}"
            ) from error
        raise DashboardError(
            f"--port must be one that this user may open, but {port}: {error.strerror}"
        ) from error


def free_port(near: int) -> int:
    """A port that nobody listens at: the next above `near`, or any."""
    for port in (*range(near + 1, min(near + 100, 65536)), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((ADDRESS, port))
            return int(probe.getsockname()[1])
    raise DashboardError("no port is free; close a program that listens")
