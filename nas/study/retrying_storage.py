"""A database that is away for a while costs time, nothing else: its storage waits, and asks again.

Only silence is waited for (a stopped server, a lost connection, a lock held too long); other
errors pass at once. A write whose answer was lost may have happened, so each write is one that can
be made twice: an attribute has the same value again, a trial carries the number of its making, and
a change of state that finds itself done is done.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import json
import random
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

from nas.cli.signals import StopSignal
from nas.study.fast_storage import Param, QuickStorage
from nas.study.transient_errors import is_transient
from space import InputError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

Answer = TypeVar("Answer")

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0
GIVE_UP_S = 15 * 60.0
# A process that was asked to stop has this long: schedulers kill it soon after.
ASKED_GIVE_UP_S = 5.0
# The system attribute of a trial that tells who made it: unique for each making.
MADE = "made"


class NoAnswerError(InputError):
    """The database did not answer for as long as it was waited for."""


def to_stderr(text: str) -> None:
    """Tells one line where there is no view."""
    print(text, file=sys.stderr, flush=True)


@dataclass(kw_only=True)
class Retry:
    """Waits for one database, in whatever thread asks it, and tells once that it waits and once
    that it goes on.
    """

    explain: Callable[[BaseException], InputError]
    """The one line about a database's error."""
    name: str = "the database"
    """The storage, fit to be shown."""
    tell: Callable[[str], None] = to_stderr
    asked: StopSignal = field(default_factory=StopSignal)
    """Whether the process was asked to stop: then it waits no longer than ASKED_GIVE_UP_S. No
    attempt is cut by a signal.
    """
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
                with self.asked.defer_signals():
                    for first in getattr(self._thread, "first", ()):
                        first()
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
    def first(self, renew: Callable[[], None]) -> Iterator[None]:
        """Inside, in this thread, `renew` is called before every attempt; its silence is the
        attempt's.
        """
        outer = getattr(self._thread, "first", ())
        self._thread.first = (*outer, renew)
        try:
            yield
        finally:
            self._thread.first = outer

    def _wait(self, silence: Exception, began: float, number: int) -> None:
        now = time.monotonic()
        with self._lock:
            told, self._silent_since = self._silent_since is not None, self._silent_since or now
            # A call that had already given up does not make every later one wait as long again.
            since = min(began if number else now, self._silent_since)
        end = now + min(FIRST_WAIT_S * 2**number, LONGEST_WAIT_S) * random.uniform(0.8, 1.2)
        if not told:
            longest = (
                f"{self.give_up_s / 60:.0f} minutes"
                if self.give_up_s >= 120
                else f"{self.give_up_s:.0f} s"
            )
            self.tell(f"{self.name} does not answer; waiting up to {longest} for it")
        while (now := time.monotonic()) < end:
            limit = min(self.give_up_s, ASKED_GIVE_UP_S) if self.asked.requested() else self.give_up_s
            if now - since >= limit:
                raise NoAnswerError(
                    f"{self.explain(silence)}; it has not answered for {now - since:.0f} s"
                ) from silence
            time.sleep(max(0.0, min(0.2, end - now)))

    def _answered(self) -> None:
        if self._silent_since is None:
            return
        with self._lock:
            since, self._silent_since = self._silent_since, None
        if since is not None:
            self.tell(
                f"{self.name} answers again after {time.monotonic() - since:.0f} s; going on"
            )


class _Kept(NamedTuple):
    """What is to be written to one trial at the end of `RetryingStorage.together`."""

    trial_id: int
    params: list[Param]
    attrs: dict[str, Any]


class RetryingStorage(QuickStorage):
    """Optuna's storage in a database, whose every question is asked until it is answered (see
    Patience.call).
    """

    def __init__(self, url: str, *, patience: Retry, **kwargs: Any) -> None:
        self.patience = patience
        self.on_told: Callable[[], None] = lambda: None
        """Called when a trial was told, so that it lasts."""
        self._making, self._together = threading.local(), threading.local()
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

        return self.patience.call(attempt)

    def delete_study(self, study_id: int) -> None:
        def attempt(number: int) -> None:
            with contextlib.suppress(*([KeyError] if number else [])):
                super(RetryingStorage, self).delete_study(study_id)

        self.patience.call(attempt)

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        self._making.id = uuid.uuid4().hex
        self._making.attempts = 0
        return self.patience.call(
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
        session.add(
            models.TrialSystemAttributeModel(
                trial_id=made.trial_id, key=MADE, value_json=json.dumps(self._making.id)
            )
        )
        return made

    def _made(self, session: Session) -> models.TrialModel | None:
        """The trial that an earlier attempt has made though its answer was lost."""
        attribute = models.TrialSystemAttributeModel
        found = session.query(attribute).filter(
            attribute.key == MADE, attribute.value_json == json.dumps(self._making.id)
        )
        row = found.one_or_none()
        return None if row is None else row.trial

    @contextlib.contextmanager
    def together(self, trial_id: int) -> Iterator[None]:
        """The parameters and user attributes that this thread gives a running trial inside are
        written at the end, all of them; none where an exception ends it. Until then nobody can
        read them here; raises there as set_trial_at_once. Not re-entrant.
        """
        kept = self._together.kept = _Kept(trial_id, [], {})
        try:
            yield
        finally:
            self._together.kept = None
        if kept.params or kept.attrs:
            # Made again after a lost answer it finds its own parameters, which is ignored, or its
            # attributes, which stay the same.
            self.patience.call(lambda _: self.set_trial_at_once(*kept))

    def _kept(self, trial_id: int) -> _Kept | None:
        kept: _Kept | None = getattr(self._together, "kept", None)
        return kept if kept is not None and kept.trial_id == trial_id else None

    def _set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None,
    ) -> None:
        param = Param(param_name, param_value_internal, distribution, previous_distribution)
        if (kept := self._kept(trial_id)) is not None:
            kept.params.append(param)
        else:
            self.patience.call(
                lambda _: super(RetryingStorage, self)._set_trial_param(trial_id, *param)
            )

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        if (kept := self._kept(trial_id)) is not None:
            kept.attrs[key] = value
        else:
            self.patience.call(
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
                if number and self._is_told(trial_id, state, values):
                    return True
                raise
            except Exception:
                tried.append((start, datetime.datetime.now()))
                raise
            return done or (state == TrialState.RUNNING and self._is_taken(trial_id, tried))

        done = self.patience.call(attempt)
        if done and state.is_finished():
            self.on_told()
        return done

    def _is_told(self, trial_id: int, state: TrialState, values: Sequence[float] | None) -> bool:
        trial = super().get_trial(trial_id)
        return trial.state == state and trial.values == (None if values is None else list(values))

    def _is_taken(
        self, trial_id: int, tried: list[tuple[datetime.datetime, datetime.datetime]]
    ) -> bool:
        """Whether this process took the waiting trial in an attempt whose answer was lost: it
        began just then.
        """
        if not tried:
            return False
        start = super().get_trial(trial_id).datetime_start
        slack = datetime.timedelta(
            seconds=1 if self.engine.name in ("mysql", "mariadb") else 0
        )  # these store seconds
        return start is not None and any(
            begin - slack <= start <= end + slack for begin, end in tried
        )


def _retrying(name: str) -> Any:
    method = getattr(QuickStorage, name)

    @functools.wraps(method)
    def ask(self: RetryingStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience.call(lambda _: method(self, *args, **kwargs))

    return ask


# Reads, and writes that are the same when made twice.
PLAIN = (
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
)
for _name in PLAIN:
    setattr(RetryingStorage, _name, _retrying(_name))


def together(trial: optuna.Trial) -> contextlib.AbstractContextManager[None]:
    """`RetryingStorage.together` for a trial of this thread's; nothing where its study is in
    another kind of storage.
    """
    storage = getattr(
        trial.study._storage, "_backend", None
    )  # Optuna's cache wraps a database's storage
    return (
        storage.together(trial._trial_id)
        if isinstance(storage, RetryingStorage)
        else contextlib.nullcontext()
    )
