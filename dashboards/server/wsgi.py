"""What the layers around optuna-dashboard share: the types of WSGI, and whole answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True)
class Answer:
    """A complete HTTP answer."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes

    def send(self, start_response: StartResponse) -> list[bytes]:
        """Begins the response; gives back its body, as an application does."""
        others = [pair for pair in self.headers if pair[0].lower() != "content-length"]
        start_response(self.status, [*others, ("Content-Length", str(len(self.body)))])
        return [self.body]


def call(app: Application, environ: Environ) -> Answer:
    """The whole answer of `app`."""
    begun: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        begun.append((status, headers))

    body = b"".join(app(environ, start_response))
    return Answer(*begun[-1], body)
