"""The one kind of error that a user can mend: one line with the rule, what broke it, what to do.

What broke it may be anything: megabytes of text, a thousand nested lists, a control character in
a file's name. So every message is made one printable line of bounded length here.
"""

from __future__ import annotations

import reprlib

# Characters of a message; what is longer loses its middle: the rule is first, the remedy last.
LONGEST = 1200
_CUT = " ... "

_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80
_brief.maxlevel, _brief.maxdict, _brief.maxlist, _brief.maxtuple = 3, 6, 8, 8


class InputError(ValueError):
    """Input that breaks a rule; the message is one line and ends with what to do.

    Raised wherever a genome, file, flag or device given from outside can't be used. The command
    line prints the message and exits with status 2.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_printable(str(message)))


def brief(value: object) -> str:
    """`repr(value)` for a message: short, and never an error, however long or nested it is."""
    try:
        return _brief.repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits has no decimal text
        return f"a very large {type(value).__name__}"


def _printable(text: str) -> str:
    if len(text) > LONGEST:
        head = 2 * LONGEST // 3
        text = text[:head] + _CUT + text[head + len(_CUT) - LONGEST :]
    if text.isprintable():
        return text
    printable = (c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in text)
    return "".join(printable)[: 2 * LONGEST]
