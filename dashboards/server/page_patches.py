"""optuna-dashboard's page, dressed for our studies: long attributes wrap instead of making the
page 9,000 pixels wide, pictures stay within it, and what the page will ask for first is fetched
while its program is still being read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from dashboards.server.guard import Application

STYLE = "<style>main{min-width:0} main p{overflow-wrap:anywhere} main img{max-width:100%}</style>"
PAGE = re.compile(r"/dashboard(?:/studies/(\d+)(?:/.*)?)?/?")


def patch_page(app: Application) -> Application:
    """`app`, with our lines in the head of its page."""

    def dressed(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = PAGE.fullmatch(environ["PATH_INFO"])
        if asked is None or environ["REQUEST_METHOD"] != "GET":
            return app(environ, start_response)
        # A page kept by the browser would be an undressed one.
        environ = {
            key: value
            for key, value in environ.items()
            if key not in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH")
        }
        begun: dict[str, Any] = {}

        def begin(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
            begun.update(status=status, headers=headers)

        body = b"".join(app(environ, begin))
        body = body.replace(b"</head>", f"{STYLE}{_ahead(asked[1])}</head>".encode(), 1)
        left_out = ("content-length", "last-modified", "etag")
        headers = [
            (name, value) for name, value in begun["headers"] if name.lower() not in left_out
        ]
        start_response(begun["status"], [*headers, ("Content-Length", str(len(body)))])
        return [body]

    return dressed


def _ahead(study: str | None) -> str:
    if study is None:
        return ""
    return (
        f'<link rel="preload" href="/api/studies/{study}?after=0" as="fetch" '
        f'crossorigin="anonymous">'
    )
