"""A study served to a browser on this machine: optuna-dashboard over a storage that is only read.

Writes are prevented three times over: requests that write are refused (guard.py), the storage
refuses writes (study/read_only.py), and the database is opened read-only (nas/study/storage.py).
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import RDBStorage

from dashboards.server.cached_answers import CachedAnswers
from dashboards.server.guard import guard
from dashboards.server.live_front import LiveFront
from dashboards.server.page_patches import patch_page
from dashboards.server.wsgi import Answer, Application, Environ, StartResponse
from dashboards.study.read_only import ReadOnlyStorage
from nas.study import InputError

ADDRESS = "127.0.0.1"
FILE = re.compile(r"/artifacts/(?:\d+/)?\d+/([0-9a-fA-F-]+)/?")


class Server(ThreadingMixIn, WSGIServer):
    """Each request in a thread of its own; none of them delays the end."""

    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Reports errors, but not a browser that went away in the middle of an answer."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def make_app(
    storage: RDBStorage, *, artifacts: Path, port: int, first_study: int, writable: bool = False
) -> Application:
    """The WSGI application; `first_study` is the id of the study whose answer is cached from the
    start, the folder `artifacts` may be missing. InputError without optuna-dashboard.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise InputError(
            "the dashboard needs optuna-dashboard; run pip install 'optuna-dashboard>=0.20'"
        ) from error
    visible = ReadOnlyStorage(storage, writable=writable, also=LiveFront().attributes)
    dashboard = wsgi(visible, artifact_store=FileSystemArtifactStore(artifacts))
    answers = CachedAnswers(dashboard, visible)
    answers.follow(first_study)
    app = patch_page(explain_missing_files(answers, artifacts))
    return guard(app, port=port, writable=writable)


def explain_missing_files(app: Application, artifacts: Path) -> Application:
    """`app`, with 404 and a sentence for an artifact that a trial names and the folder lacks."""

    def explained(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        file = FILE.fullmatch(environ["PATH_INFO"])
        if file is None or (artifacts / file[1]).is_file():
            return app(environ, start_response)
        text = (
            f"There is no file {file[1]} in {artifacts}; start the dashboard with --artifacts if "
            "it is elsewhere.\n"
        )
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        return Answer("404 Not Found", headers, text.encode()).send(start_response)

    return explained


def listen(port: int) -> Server:
    """A server at 127.0.0.1:`port` (0: any); InputError names a free port if it is taken."""
    if not 0 <= port <= 65535:
        raise InputError(f"--port must be within 0 to 65535, but got {port}; 8080 is usual")
    try:
        return Server((ADDRESS, port), _QuietHandler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"port {port} is in use; give another, such as --port {free_port(port)}"
            ) from error
        raise InputError(
            f"--port must be one that this user may open, but {port}: {error.strerror}"
        ) from error


def free_port(near: int) -> int:
    """A port that nobody listens at: the next above `near`, or any."""
    for port in (*range(near + 1, min(near + 100, 65536)), 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((ADDRESS, port))
            return int(probe.getsockname()[1])
    raise InputError("no port is free; close a program that listens")
