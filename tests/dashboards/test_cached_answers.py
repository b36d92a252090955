"""Answers about whole studies: optuna-dashboard's own, cached only where they take long."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from studies import Made, baselines, make_file

from dashboards.server import cached_answers
from dashboards.server.cached_answers import CachedAnswers
from dashboards.server.live_front import LiveFront
from dashboards.server.wsgi import Answer, call
from dashboards.study.read_only import ReadOnlyStorage
from nas.study.storage import open_to_look

PATH = "/api/studies/1"


class Counting:
    """An application whose answers are numbered, held up while `gate` is closed."""

    def __init__(self, status: str = "200 OK") -> None:
        self.status, self.numbers = status, itertools.count()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        number = next(self.numbers)
        assert self.gate.wait(20)
        return Answer(self.status, [], str(number).encode()).send(start_response)


def ask(app: Any, query: str = "", *, method: str = "GET", path: str = PATH) -> bytes:
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    return call(app, environ).body


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return make_file([*baselines(), Made(psnr_db=26.0, latency_ms=20.0)], tmp_path)


@pytest.fixture
def storage(url: str) -> ReadOnlyStorage:
    return ReadOnlyStorage(open_to_look(url), also=LiveFront().attributes)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer counts as slow; nothing is made in the background."""
    monkeypatch.setattr(cached_answers, "SLOW_S", 0.0)
    monkeypatch.setattr(CachedAnswers, "follow", lambda self, study_id: None)


def test_quick_answers_are_made_for_each_request(storage: ReadOnlyStorage) -> None:
    app = CachedAnswers(Counting(), storage)
    assert [ask(app), ask(app, "after=0")] == [b"0", b"1"]


@pytest.mark.usefixtures("slow")
def test_only_slow_answers_about_whole_studies_are_cached(storage: ReadOnlyStorage) -> None:
    app = CachedAnswers(Counting(), storage)
    assert [ask(app), ask(app, "after=0"), ask(app, path=PATH + "/")] == [b"0"] * 3
    assert [ask(app, "after=3"), ask(app, "after=3")] == [b"1", b"2"]
    assert [ask(app, path="/api/studies/2"), ask(app, path="/api/studies")] == [b"3", b"4"]
    assert ask(app, method="PUT", path=PATH + "/note") == b"5"
    assert [ask(app), ask(app)] == [b"6", b"6"], "a write makes all answers anew"


@pytest.mark.usefixtures("slow")
def test_errors_are_not_cached(storage: ReadOnlyStorage) -> None:
    app = CachedAnswers(Counting("500 Internal Server Error"), storage)
    assert [ask(app), ask(app)] == [b"0", b"1"]


@pytest.mark.usefixtures("slow")
def test_an_answer_that_is_being_made_is_waited_for(storage: ReadOnlyStorage) -> None:
    inner = Counting()
    app, bodies = CachedAnswers(inner, storage), list[bytes]()
    inner.gate.clear()
    threads = [threading.Thread(target=lambda: bodies.append(ask(app))) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    inner.gate.set()
    for thread in threads:
        thread.join(20)
    assert bodies == [b"0"] * 3


@pytest.mark.usefixtures("slow")
def test_an_answer_begun_before_a_write_is_not_cached(storage: ReadOnlyStorage) -> None:
    inner = Counting()
    app = CachedAnswers(inner, storage)
    inner.gate.clear()
    early = threading.Thread(target=ask, args=(app,))
    early.start()
    wait_for(lambda: next(inner.numbers) > 0)
    app._forget()  # as a write does
    inner.gate.set()
    early.join(20)
    later = ask(app)
    assert int(later) > 1 and ask(app) == later


def test_it_is_made_anew_in_the_background_when_the_study_has_changed(
    url: str, storage: ReadOnlyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLOW_S", "REST_S", "REST_SHARE"):
        monkeypatch.setattr(cached_answers, name, 0.02 if name == "REST_S" else 0.0)
    app = CachedAnswers(Counting(), storage)
    app.follow(1)
    wait_for(lambda: 1 in app._answers)
    time.sleep(0.2)
    assert ask(app) == b"0", "without a change it is made once"
    writable = open_to_look(url, writable=True)
    writable.set_study_system_attr(1, "dashboard:note_ver", 1)
    wait_for(lambda: ask(app) == b"1")
    writable.delete_study(1)
    wait_for(lambda: 1 not in app._answers)


@pytest.mark.usefixtures("slow")
def test_the_answer_is_optuna_dashboards_own(storage: ReadOnlyStorage) -> None:
    wsgi = pytest.importorskip("optuna_dashboard", reason="needs optuna-dashboard").wsgi
    own = ask(wsgi(storage))
    app = CachedAnswers(wsgi(storage), storage)
    assert ask(app) == ask(app, "after=0") == own and len(json.loads(own)["trials"]) == 4
