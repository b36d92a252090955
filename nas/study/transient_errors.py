"""Whether an error says that the database does not answer just now, or that something is wrong."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

# PostgreSQL's SQLSTATEs: connection lost, shutting down or starting, too many clients, a
# deadlock's victim.
_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01")
# A connection that was never made has no state, only its driver's words.
_WORDS = re.compile(
    "refused|timeout expired|timed out|starting up|shutting down|recovery mode|not yet accepting"
    "|closed the connection|connection reset|connection is (closed|lost|bad)|broken pipe"
    "|terminating connection|no route to host|unreachable|too many clients"
    "|remaining connection slots|could not translate host name|failed to resolve host"
    "|name resolution|name or service not known|socket.*no such file|no such file.*socket"
)


def is_transient(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether `error`, or what it was raised from, means that the database does not answer.

    `handled` is what was being handled before the call: an older error, which says nothing about
    this one.
    """
    return any(
        isinstance(one, DBAPIError) and _is_transient(one) for one in _chain(error, handled)
    )


def _is_transient(error: DBAPIError) -> bool:
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return isinstance(original, sqlite3.OperationalError) and "locked" in str(original)
    if error.connection_invalidated:
        return True
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state:
        return str(state).startswith(_STATES)
    return _WORDS.search(" ".join(str(original).lower().split())) is not None


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = {id(handled)}
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
