"""Whether an error says that the database does not answer just now (to be waited for), or that
something is wrong (not).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from sqlalchemy.exc import DBAPIError

# PostgreSQL's SQLSTATEs: connection lost, shutting down or starting, too many clients, a
# deadlock's victim.
_STATES = ("08", "57P01", "57P02", "57P03", "53300", "40001", "40P01")
# MySQL's: too many connections, shutting down, lock wait timeout, deadlock, no connection, gone
# away, lost.
_NUMBERS = (1040, 1053, 1205, 1213, 2002, 2003, 2006, 2013, 2055)
# A connection that was never made has no state, only its driver's words.
_WORDS = (
    "refused",
    "timeout expired",
    "timed out",
    "starting up",
    "shutting down",
    "recovery mode",
    "not yet accepting",
    "closed the connection",
    "connection reset",
    "connection is closed",
    "connection is lost",
    "connection is bad",
    "terminating connection",
    "no route to host",
    "unreachable",
    "broken pipe",
    "too many clients",
    "remaining connection slots",
    "gone away",
    "lost connection",
    "could not translate host name",
    "failed to resolve host",
    "name resolution",
    "name or service not known",
)


def is_transient(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether `error`, or what it was raised from, means that the database does not answer.

    `handled` is what was being handled before it was asked: an older error, which says nothing
    about this one.
    """
    return any(isinstance(one, DBAPIError) and _is_silent(one) for one in _chain(error, handled))


def _is_silent(error: DBAPIError) -> bool:
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return isinstance(original, sqlite3.OperationalError) and "locked" in str(original)
    if error.connection_invalidated:
        return True
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state:
        return str(state).startswith(_STATES)
    number = original.args[0] if original is not None and original.args else None
    if isinstance(number, int):
        return number in _NUMBERS
    words = str(original).lower()
    socket_gone = "socket" in words and "no such file" in words
    return socket_gone or any(word in words for word in _WORDS)


def _chain(error: BaseException, handled: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = {id(handled)}
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
