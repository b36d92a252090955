"""One worker as a task of a Ray cluster: what runs there, and what the process that started it
holds of it.

Here a task looks like a worker's process (nas/workers/process.py): begun, heard, asked to stop,
and asked how it died. That its machine died, or is taken away, is no fault of the worker's: then
Ray is given the task anew, as often as it takes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import selectors
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nas.cli.parser import EXIT_INPUT, explain, one_line
from nas.cli.signals import StopSignal
from nas.loop.search_loop import SearchOutcome
from nas.study.storage import mask_password
from nas.workers.ray_mailbox import Mailbox
from nas.workers.worker import Assignment, Tell

Work = Callable[[Assignment, Tell, StopSignal], SearchOutcome]
# Seconds after which it is told that a worker still waits for a place.
PLACE_S = 60.0
# Seconds that a look into the mailbox, or the last event into it, may take.
MAILBOX_S = 10.0


def run_task(assignment: Assignment, log: Path, mailbox: Any, work: Work) -> dict[str, Any]:
    """The whole of one worker, on the machine that Ray has chosen: its events go into `mailbox`,
    how it ended comes back.

    Ray cancels a task as Ctrl-C would, and takes a machine away with SIGTERM: both come to
    `nas.cli.signals`.
    """
    import ray

    def tell(event: dict[str, Any]) -> None:
        mailbox.put.remote(assignment.index, event)

    asked = StopSignal()
    try:
        with asked.installed():
            tell({"event": "begun"})
            _write_errors_to(log)
            ending = work(assignment, tell, asked)
            told = {"reason": ending.reason, "status": ending.status}
    except KeyboardInterrupt:
        told = {"reason": "stopped", "status": asked.status}
    except Exception as error:
        if (message := explain(error)) is None:
            # Not raised: Ray would keep it, with whatever it names, in its own logs.
            traceback.print_exc()
            told = {"error": f"{type(error).__name__}: {one_line(error)}"}
        else:
            told = {"reason": one_line(message), "status": EXIT_INPUT}
    with contextlib.suppress(
        ray.exceptions.RayError
    ):  # events come in order: once this one is there, all are
        ray.get(mailbox.put.remote(assignment.index, {"event": "told"}), timeout=MAILBOX_S)
    return {**told, "asked": asked()}


def _write_errors_to(log: Path) -> None:
    """This process's standard error: to where a worker's goes on one machine, if that folder is
    here.
    """
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
            errors.write(f"--- {now} on {socket.gethostname()}\n".encode())
            errors.flush()
            os.dup2(errors.fileno(), 2)


class RayTask:
    """A worker's task, given to Ray by `submit` when this is made."""

    def __init__(
        self, ray: Any, submit: Callable[[Assignment], Any], assignment: Assignment
    ) -> None:
        self.index, self.threads = assignment.index, assignment.threads
        self._ray, self._submit, self._assignment = ray, submit, assignment
        self._made = self._submitted = time.monotonic()
        self._events: list[dict[str, Any]] = []
        self._error = ""
        self._has_place = self._stopped = self._ended = False
        self.ref = submit(assignment)

    def fileno(self) -> int:
        """No file: `Tasks` knows how to wait for it."""
        return -1

    @property
    def has_ended(self) -> bool:
        """Whether there will be no more events than those that `events` gives next."""
        return self._ended

    @property
    def has_news(self) -> bool:
        """Whether it is worth a call of `events`."""
        return self._ended or bool(self._events)

    @property
    def waits_s(self) -> float | None:
        """Seconds for which it has had no place in the cluster; None where it has one."""
        return None if self._has_place or self._ended else time.monotonic() - self._submitted

    def events(self) -> list[dict[str, Any]] | None:
        """The events that came since; None once there will be no more."""
        events, self._events = self._events, []
        return events if events or not self._ended else None

    def hear(self, event: dict[str, Any]) -> None:
        """Takes in what was told, by it or about it."""
        if event["event"] == "begun":
            self._has_place = True
        elif event["event"] != "told":
            self._events.append(event)

    def stop(self) -> None:
        """Asks it to put its trial back and to end; where it has no place yet, it just ends."""
        if not self._stopped and not self._ended:  # a second time would cut the checkpoint short
            self._stopped = True
            self._ray.cancel(self.ref)

    def kill(self) -> None:
        """Ends it at once."""
        self._stopped = True
        self._ray.cancel(self.ref, force=True)

    def close(self) -> int:
        """1 where it died, else 0."""
        return int(bool(self._error))

    def last_words(self) -> str:
        """What it died of, in one line."""
        return self._error

    def finish(self) -> None:
        """Takes in how it ended, or gives Ray the task anew. To be called when `ref` is ready."""
        told = self._outcome()
        if told.get("lost") and not self._stopped and self._again(told["lost"]):
            return
        self._ended = True
        if error := told.get("error"):
            url = self._assignment.storage
            self._error = (error.replace(url, mask_password(url)) if url else error)[:300]
        else:
            self._events.append(
                {"event": "end", "reason": told["reason"], "status": told["status"]}
            )

    def _outcome(self) -> Mapping[str, Any]:
        errors = self._ray.exceptions
        try:
            told: dict[str, Any] = self._ray.get(self.ref)
            return {**told, "lost": "its machine is taken away"} if told["asked"] else told
        except errors.TaskCancelledError:
            return {"reason": "stopped", "status": 0}
        except errors.RayError as error:
            text = f"{type(error).__name__}: {one_line(error)}"
            return (
                {"error": text, "lost": "its machine died"}
                if self._is_lost(error)
                else {"error": text}
            )

    def _is_lost(self, error: Exception) -> bool:
        return isinstance(
            error, (self._ray.exceptions.NodeDiedError, self._ray.exceptions.LocalRayletDiedError)
        )

    def _again(self, why: str) -> bool:
        """Gives Ray the task anew, for the time that is left; False where none is."""
        changes = dict(self._assignment.changes)
        if (timeout_min := changes.get("timeout_min")) is not None:
            changes["timeout_min"] = timeout_min - (time.monotonic() - self._made) / 60
            if changes["timeout_min"] <= 0:
                return False
        self._events += [
            {"event": "note", "text": f"{why}; it goes on on another"},
            {"event": "ended", "number": None},
            {"event": "started", "number": -1, "name": "starting"},
        ]
        self._has_place, self._submitted = False, time.monotonic()
        self.ref = self._submit(dataclasses.replace(self._assignment, changes=changes))
        return True


class Tasks(selectors.BaseSelector):
    """Workers as tasks, waited for together as a selector waits for files. A context, at whose end
    none is left.
    """

    def __init__(self, ray: Any, work: Work, *, gpu_per_worker: float) -> None:
        self._ray, self._work, self._gpus = ray, work, gpu_per_worker
        self._keys: dict[RayTask, selectors.SelectorKey] = {}
        self._told: set[RayTask] = set()
        # On this machine: whatever happens to the others.
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self._mailbox = (
            ray.remote(Mailbox)
            .options(num_cpus=0, max_restarts=-1, scheduling_strategy=here)
            .remote()
        )

    def start(self, assignment: Assignment, log: Path) -> RayTask:
        """A task for `assignment`, whose standard error is added to `log`."""
        return RayTask(self._ray, lambda one: self._submit(one, log), assignment)

    def _submit(self, assignment: Assignment, log: Path) -> Any:
        # A process of its own, as on one machine; what becomes of a task that died is for the crew
        # to say, not for Ray.
        remote = self._ray.remote(max_calls=1, max_retries=0, scheduling_strategy="SPREAD")(
            run_task
        ).options(
            num_cpus=assignment.threads,
            num_gpus=self._gpus,
            name=f"nas.workers.worker {assignment.index}",
        )
        # As an object: what a task is given directly may show in descriptions of the task, and the
        # storage's URL must not.
        return remote.remote(self._ray.put(assignment), log, self._mailbox, self._work)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """From now on `select` looks at the task `fileobj`."""
        self._keys[fileobj] = selectors.SelectorKey(fileobj, -1, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """`select` looks at the task `fileobj` no more."""
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """Who is looked at."""
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The tasks that have something to tell, after at most `timeout` seconds."""
        running = {task.ref: task for task in self._keys if not task.has_ended}
        ready = self._ray.wait(list(running), num_returns=1, timeout=timeout)[0] if running else []
        self._read_mail()
        for ref in ready:
            running[ref].finish()
        self._tell_who_waits()
        return [(key, key.events) for task, key in self._keys.items() if task.has_news]

    def _read_mail(self) -> None:
        try:
            mail = self._ray.get(self._mailbox.take.remote(), timeout=MAILBOX_S)
        except self._ray.exceptions.RayError:
            return  # only what is shown is lost: the study itself holds the rest
        tasks = {task.index: task for task in self._keys}
        for worker, event in mail:
            if worker in tasks:
                tasks[worker].hear(event)

    def _tell_who_waits(self) -> None:
        needs = "CPUs" if not self._gpus else f"CPUs and {self._gpus:g} GPU"
        for task in self._keys:
            if (
                (waited_s := task.waits_s) is not None
                and waited_s > PLACE_S
                and task not in self._told
            ):
                self._told.add(task)
                task.hear(
                    {
                        "event": "note",
                        "text": f"waits for a place in the cluster ({task.threads} {needs})",
                    }
                )
