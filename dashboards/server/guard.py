"""What may reach the server: requests to this machine's own address, and unless it is writable
only those that read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

READS = ("GET", "HEAD")
REASON = "this dashboard is read-only; start it with --writable to change the study"

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def guard(app: Application, *, port: int, writable: bool = False) -> Application:
    """`app`, behind two questions. 403 where another site's name was asked for (a page that has
    its own name point to 127.0.0.1 could read the study), 405 for a method that writes; both with
    {"reason": ...} as JSON.
    """
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"} | (
        {"127.0.0.1", "localhost"} if port == 80 else set()
    )
    origins = {f"http://{host}" for host in hosts}

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, host, origin = (
            environ["REQUEST_METHOD"],
            environ.get("HTTP_HOST", ""),
            environ.get("HTTP_ORIGIN"),
        )
        if host not in hosts:
            return _refuse(
                start_response,
                "403 Forbidden",
                f"this dashboard is at http://127.0.0.1:{port} only",
                [],
            )
        if method not in READS:
            if not writable:
                return _refuse(
                    start_response, "405 Method Not Allowed", REASON, [("Allow", ", ".join(READS))]
                )
            if origin is not None and origin not in origins:
                return _refuse(
                    start_response, "403 Forbidden", "another site may not change this study", []
                )
        return app(environ, start_response)

    return guarded


def _refuse(
    start_response: Callable[..., Any], status: str, reason: str, headers: list[tuple[str, str]]
) -> Iterable[bytes]:
    body = json.dumps({"reason": reason}).encode()
    start_response(
        status,
        [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *headers],
    )
    return [body]
