"""What is held against an accepted or a refused input."""

from __future__ import annotations

from space import InputError

LONGEST = 2400


class WrongError(AssertionError):
    """An input was accepted, and what came of it is not what it says; or it was refused in no good
    words.
    """


def require(holds: bool, what: str) -> None:
    if not holds:
        raise WrongError(what)


def check_words(error: InputError) -> None:
    """One line that can be printed, of bounded length, with a remedy at its end."""
    text = str(error)
    require(
        bool(text) and text.isprintable() and len(text) <= LONGEST,
        f"the message is no single short line: {text[:300]!r}",
    )
    require(";" in text, f"the message has no remedy: {text[:300]!r}")
