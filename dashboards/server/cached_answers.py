"""optuna-dashboard's own answers about whole studies, cached where they take long.

At 2,000 trials its answer takes many seconds. A page gets the last one at once; it asks by itself
for the trials that weren't finished in it, and those requests are never cached. So new trials
appear as they come, while the cached answer is made anew in the background.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from wsgiref.util import setup_testing_defaults

from optuna.storages import BaseStorage

from dashboards.server.guard import READS
from dashboards.server.wsgi import Answer, Application, Environ, StartResponse, call

STUDY = re.compile(r"/api/studies/(\d+)/?")
WHOLE = ("", "after=0")
SLOW_S = 1.0  # answers that take less are made for each request
# The background rests this long after an answer, or this many times as long as it took. Not less:
# optuna-dashboard itself reads the trials of a large study at most every 10 s.
REST_S, REST_SHARE = 10.0, 20


class CachedAnswers:
    """`app`, a dashboard of `storage`, as a WSGI application with a cache."""

    def __init__(self, app: Application, storage: BaseStorage) -> None:
        self._app, self._storage = app, storage
        self._lock = threading.Lock()
        self._answers: dict[int, Answer] = {}
        self._making: dict[int, threading.Lock] = {}
        self._followed: set[int] = set()
        self._writes = 0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in READS:
            try:
                return self._app(environ, start_response)
            finally:
                self._forget()
        study = STUDY.fullmatch(environ["PATH_INFO"])
        whole = environ["REQUEST_METHOD"] == "GET" and environ.get("QUERY_STRING", "") in WHOLE
        if study is None or not whole:
            return self._app(environ, start_response)
        study_id = int(study[1])
        answer = self._answers.get(study_id)
        if answer is None:
            with self._making_of(study_id):  # one that is being made is waited for
                answer = self._answers.get(study_id) or self._make(study_id, environ)
        return answer.send(start_response)

    def follow(self, study_id: int) -> None:
        """Starts a thread that makes the answer about a study now and after each change."""
        with self._lock:
            if study_id in self._followed:
                return
            self._followed.add(study_id)
        threading.Thread(target=self._follow, args=(study_id,), daemon=True).start()

    def _follow(self, study_id: int) -> None:
        answered, seconds = None, 0.0
        while True:
            try:
                state = _state(self._storage, study_id)
                if state != answered:
                    if answered is not None:
                        time.sleep(REST_S)  # so that optuna-dashboard reads the trials anew
                    environ: Environ = {"PATH_INFO": f"/api/studies/{study_id}"}
                    setup_testing_defaults(environ)
                    started = time.monotonic()
                    with self._making_of(study_id):
                        self._make(study_id, environ)
                    answered, seconds = state, time.monotonic() - started
            except Exception:  # of the database: the application reports it on request
                answered = None
                self._answers.pop(study_id, None)
            time.sleep(max(REST_S, REST_SHARE * seconds))

    def _make(self, study_id: int, environ: Environ) -> Answer:
        writes, started = self._writes, time.monotonic()
        answer = call(self._app, environ)
        slow = time.monotonic() - started >= SLOW_S
        with self._lock:
            cacheable = slow and answer.status.startswith("200") and writes == self._writes
            if cacheable:
                self._answers[study_id] = answer
            else:
                self._answers.pop(study_id, None)
        if cacheable:
            self.follow(study_id)
        return answer

    def _making_of(self, study_id: int) -> threading.Lock:
        return self._making.setdefault(study_id, threading.Lock())

    def _forget(self) -> None:
        with self._lock:
            self._writes += 1
            self._answers.clear()


def _state(storage: BaseStorage, study_id: int) -> int:
    """Differs where a trial's state, or an attribute of the study such as a note, has changed."""
    trials = storage.get_all_trials(study_id, deepcopy=False)
    attributes = storage.get_study_user_attrs(study_id), storage.get_study_system_attrs(study_id)
    return hash((tuple(trial.state for trial in trials), repr(attributes)))
