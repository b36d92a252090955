"""Which requests reach the server: those to this machine's own address, and only reading ones."""

from __future__ import annotations

import json
from collections.abc import Iterable

from dashboards.server.wsgi import Answer, Application, Environ, StartResponse

READS = ("GET", "HEAD")
REASON = "this dashboard is read-only; start it with --writable to change the study"


def guard(app: Application, *, port: int, writable: bool = False) -> Application:
    """`app` behind two checks, refusals as JSON: 403 for a foreign Host or Origin (a page whose
    name resolves to 127.0.0.1 could read the study), 405 for writes unless `writable`.
    """
    hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
    if port == 80:
        hosts |= {"127.0.0.1", "localhost"}
    origins = {None, *(f"http://{host}" for host in hosts)}

    def guarded(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        reads = environ["REQUEST_METHOD"] in READS
        if environ.get("HTTP_HOST", "") not in hosts:
            here = f"this dashboard is at http://127.0.0.1:{port} only"
            refusal = _refusal("403 Forbidden", here)
        elif not reads and not writable:
            refusal = _refusal("405 Method Not Allowed", REASON, ("Allow", ", ".join(READS)))
        elif not reads and environ.get("HTTP_ORIGIN") not in origins:
            refusal = _refusal("403 Forbidden", "another site may not change this study")
        else:
            return app(environ, start_response)
        return refusal.send(start_response)

    return guarded


def _refusal(status: str, reason: str, *headers: tuple[str, str]) -> Answer:
    body = json.dumps({"reason": reason}).encode()
    return Answer(status, [("Content-Type", "application/json"), *headers], body)
