"""Patches of optuna-dashboard's page: it stays within the window, and loads its data earlier."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from dashboards.server.wsgi import Application, Environ, StartResponse, call

# Long attributes wrap instead of making the page 9,000 pixels wide, and pictures stay within it.
STYLE = "<style>main{min-width:0} main p{overflow-wrap:anywhere} main img{max-width:100%}</style>"
# Its first request starts while its script loads.
PRELOAD = '<link rel="preload" href="/api/studies/{}?after=0" as="fetch" crossorigin="anonymous">'
PAGE = re.compile(r"/dashboard(?:/studies/(\d+)(?:/.*)?)?/?")
# A page cached by the browser would be an unpatched one.
CACHING = ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "last-modified", "etag")


def patch_page(app: Application) -> Application:
    """`app`, with our lines in the head of its page."""

    def patched(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        page = PAGE.fullmatch(environ["PATH_INFO"])
        if page is None or environ["REQUEST_METHOD"] != "GET":
            return app(environ, start_response)
        answer = call(app, {key: environ[key] for key in environ if key not in CACHING})
        head = STYLE + (PRELOAD.format(page[1]) if page[1] else "")
        return dataclasses.replace(
            answer,
            headers=[pair for pair in answer.headers if pair[0].lower() not in CACHING],
            body=answer.body.replace(b"</head>", f"{head}</head>".encode(), 1),
        ).send(start_response)

    return patched
