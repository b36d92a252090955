"""A database that is away for a while costs time, nothing else: its storage tries again.

Only transient errors are waited for (a stopped server, a lost connection, a lock held too long);
others pass at once. A write whose answer was lost may have happened, so each write is one that can
be made twice: an attribute has the same value again, a trial carries the number of its making, and
a change of state that finds itself done is done.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import math
import random
import re
import sqlite3
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError

from nas.cli.signals import StopSignal
from nas.study.fast_storage import FastStorage, Param
from nas.study.internals import database_of, trial_id
from space import InputError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Answer = TypeVar("Answer")

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
GIVE_UP_S = 15 * 60.0
# Where a stop was requested it waits no longer: schedulers kill soon after.
STOP_GIVE_UP_S = 5.0
# The system attribute of a trial that is unique for each making of one.
MADE = "made"

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


class NoAnswerError(InputError):
    """The database did not answer for as long as it was waited for."""


def to_stderr(text: str) -> None:
    """Prints one line where there is no view."""
    print(text, file=sys.stderr, flush=True)


@dataclass(kw_only=True)
class Retry:
    """Waits for one database, in any thread; reports once that it waits, and that it goes on."""

    explain: Callable[[BaseException], InputError]
    """The one line about a database's error."""
    name: str = "the database"
    """The storage, without its password."""
    report: Callable[[str], None] = to_stderr
    stop: StopSignal = field(default_factory=StopSignal)
    """Once requested it waits no longer than STOP_GIVE_UP_S. No signal cuts an attempt."""
    give_up_s: float = GIVE_UP_S
    _silent_since: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: threading.local = field(default_factory=threading.local)

    def call(self, attempt: Callable[[int], Answer]) -> Answer:
        """What `attempt(n)` gives, n = 0, 1, ... until the database answers; NoAnswerError after
        `give_up_s` of silence.

        A signal that comes during an attempt cuts (KeyboardInterrupt) when that has ended.
        """
        handled, began, number = sys.exception(), time.monotonic(), 0
        while True:
            try:
                with self.stop.defer_signals():
                    for renew in getattr(self._thread, "renewals", ()):
                        renew()
                    answer = attempt(number)
            except Exception as error:
                if isinstance(error, NoAnswerError):
                    raise
                if not is_transient(error, handled):
                    self._answered()
                    raise
                # outside the clause, where the next attempt's errors don't hang on this one
                silence = error
            else:
                self._answered()
                return answer
            self._wait(silence, began, number)
            number += 1

    @contextlib.contextmanager
    def renewing(self, renew: Callable[[], None]) -> Iterator[None]:
        """Inside, in this thread, `renew` is called before every attempt, as a part of it."""
        outer = getattr(self._thread, "renewals", ())
        self._thread.renewals = (*outer, renew)
        try:
            yield
        finally:
            self._thread.renewals = outer

    def _wait(self, silence: Exception, began: float, number: int) -> None:
        now = time.monotonic()
        with self._lock:
            is_new, self._silent_since = self._silent_since is None, self._silent_since or now
            # A call that had already given up does not make every later one wait as long again.
            since = min(began if number else now, self._silent_since)
        end = now + min(FIRST_WAIT_S * 2**number, LONGEST_WAIT_S) * random.uniform(0.8, 1.2)
        if is_new:
            most = self.give_up_s
            longest = f"{most / 60:.0f} minutes" if most >= 120 else f"{most:.0f} s"
            self.report(f"{self.name} does not answer; waiting up to {longest} for it")
        while (now := time.monotonic()) < end:
            limit = STOP_GIVE_UP_S if self.stop.requested() else math.inf
            if (gone := now - since) >= min(self.give_up_s, limit):
                why = self.explain(silence)
                raise NoAnswerError(f"{why}; it has not answered for {gone:.0f} s") from silence
            time.sleep(max(0.0, min(0.2, end - now)))

    def _answered(self) -> None:
        if self._silent_since is None:  # the usual case, without the lock
            return
        with self._lock:
            since, self._silent_since = self._silent_since, None
        if since is not None:
            waited_s = time.monotonic() - since
            self.report(f"{self.name} answers again after {waited_s:.0f} s; going on")


class _Batch(NamedTuple):
    """What is to be written to one trial at the end of `RetryingStorage.one_write`."""

    trial_id: int
    params: list[Param]
    attrs: dict[str, Any]


class RetryingStorage(FastStorage):
    """Optuna's storage in a database, whose every call is made until it is answered."""

    def __init__(self, url: str, *, retry: Retry, **kwargs: Any) -> None:
        self.retry = retry
        self.on_finished: Callable[[], None] = lambda: None
        """Called when a trial has finished, so that it lasts."""
        self._making, self._batches = threading.local(), threading.local()
        try:
            super().__init__(url, **kwargs)
        except BaseException:
            if hasattr(self, "engine"):
                self.engine.dispose()  # its connections, which nobody else could close
            raise

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        def attempt(number: int) -> int:
            try:
                return super(RetryingStorage, self).create_new_study(directions, study_name)
            except DuplicatedStudyError:
                if number and study_name is not None:
                    return super(RetryingStorage, self).get_study_id_from_name(study_name)
                raise

        return self.retry.call(attempt)

    def delete_study(self, study_id: int) -> None:
        def attempt(number: int) -> None:
            with contextlib.suppress(*([KeyError] if number else [])):
                super(RetryingStorage, self).delete_study(study_id)

        self.retry.call(attempt)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        self._making.id = uuid.uuid4().hex
        self._making.attempts = 0
        return self.retry.call(
            lambda _: super(RetryingStorage, self)._create_new_trial(study_id, template_trial)
        )

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> models.TrialModel:
        # Called inside the transaction that makes a trial, in which the study's row is locked.
        self._making.attempts += 1
        if self._making.attempts > 1 and (made := self._made(session)) is not None:
            return made
        made = super()._get_prepared_new_trial(study_id, template_trial, session)
        mark = json.dumps(self._making.id)
        session.add(
            models.TrialSystemAttributeModel(trial_id=made.trial_id, key=MADE, value_json=mark)
        )
        return made

    def _made(self, session: Session) -> models.TrialModel | None:
        """The trial that an earlier attempt has made though its answer was lost."""
        attribute, mark = models.TrialSystemAttributeModel, json.dumps(self._making.id)
        made = session.query(attribute).filter_by(key=MADE, value_json=mark).one_or_none()
        return None if made is None else made.trial

    @contextlib.contextmanager
    def one_write(self, trial_id: int) -> Iterator[None]:
        """The parameters and user attributes that this thread gives a running trial inside are
        written at the end, all of them; none where an exception ends it. Until then nobody can
        read them; raises there as set_trial_at_once. Not re-entrant.
        """
        batch = self._batches.batch = _Batch(trial_id, [], {})
        try:
            yield
        finally:
            self._batches.batch = None
        if batch.params or batch.attrs:
            # Made again after a lost answer it finds its own parameters, which is ignored, or its
            # attributes, which stay the same.
            self.retry.call(lambda _: self.set_trial_at_once(*batch))

    def _batch(self, trial_id: int) -> _Batch | None:
        batch: _Batch | None = getattr(self._batches, "batch", None)
        return batch if batch is not None and batch.trial_id == trial_id else None

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        param = Param(param_name, param_value_internal, distribution, previous_distribution)
        if (batch := self._batch(trial_id)) is not None:
            batch.params.append(param)
        else:
            self.retry.call(
                lambda _: super(RetryingStorage, self)._set_trial_param(trial_id, *param)
            )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if (batch := self._batch(trial_id)) is not None:
            batch.attrs[key] = value
        else:
            self.retry.call(
                lambda _: super(RetryingStorage, self).set_trial_user_attr(trial_id, key, value)
            )

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        tried: list[tuple[datetime.datetime, datetime.datetime]] = []

        def attempt(number: int) -> bool:
            start = datetime.datetime.now()
            try:
                done = super(RetryingStorage, self).set_trial_state_values(trial_id, state, values)
            except UpdateFinishedTrialError:
                if number and self._is_stored(trial_id, state, values):
                    return True
                raise
            except Exception:
                tried.append((start, datetime.datetime.now()))
                raise
            return done or (state == TrialState.RUNNING and self._is_taken(trial_id, tried))

        done = self.retry.call(attempt)
        if done and state.is_finished():
            self.on_finished()
        return done

    def _is_stored(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        trial = super().get_trial(trial_id)
        return trial.state == state and trial.values == (None if values is None else list(values))

    def _is_taken(
        self, trial_id: int, tried: list[tuple[datetime.datetime, datetime.datetime]]
    ) -> bool:
        """Whether this process took the waiting trial in an attempt whose answer was lost."""
        if not tried:
            return False
        start = super().get_trial(trial_id).datetime_start
        return start is not None and any(begin <= start <= end for begin, end in tried)


def _retrying(name: str) -> Any:
    method = getattr(FastStorage, name)

    @functools.wraps(method)
    def retrying(self: RetryingStorage, *args: Any, **kwargs: Any) -> Any:
        return self.retry.call(lambda _: method(self, *args, **kwargs))

    return retrying


# Reads, and writes that are the same when made twice.
PLAIN = [
    "get_study_id_from_name",
    "get_study_name_from_id",
    "get_all_studies",
    "get_study_directions",
    "get_study_user_attrs",
    "get_study_system_attrs",
    "set_study_user_attr",
    "set_study_system_attr",
    "get_trial",
    "_get_trials",
    "get_trial_id_from_study_id_trial_number",
    "get_trial_param",
    "get_trial_user_attrs",
    "get_trial_system_attrs",
    "set_trial_intermediate_value",
    "set_trial_system_attr",
    "_get_best_trial_id",
    "record_heartbeat",
    "_get_stale_trial_ids",
]
for _name in PLAIN:
    setattr(RetryingStorage, _name, _retrying(_name))


def one_write(trial: optuna.Trial) -> contextlib.AbstractContextManager[None]:
    """`RetryingStorage.one_write` for `trial`; another kind of storage writes as ever."""
    storage = database_of(trial.study)
    if isinstance(storage, RetryingStorage):
        return storage.one_write(trial_id(trial))
    return contextlib.nullcontext()


def is_transient(error: BaseException, handled: BaseException | None = None) -> bool:
    """Whether `error`, or what it was raised from, means that the database does not answer.

    `handled` is what was being handled before the call: an older error, which says nothing about
    this one.
    """
    chain = _chain(error, handled)
    return any(isinstance(one, DBAPIError) and _is_transient(one) for one in chain)


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
