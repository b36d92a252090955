"""Whose clock counts: a study's latencies are those of one model of device, its judge.

Milliseconds of two devices don't compare, and neither do ratios to MO. So a worker on another
device than the study's is refused, unless the study names its judge: then such a worker trains,
and has its networks timed by the workers that run on the judge. It leaves a wish with its running
trial, and waits; a judge looks for wishes between its own trials.

    wants_timing   True on a running trial whose network a judge shall time timed          the
    answer: {"latency": trials.Latency, "ratio_to_mo": trials.LatencyRatio} as dictionaries, or
    {"failed": why}
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from nas.cli.parser import one_line
from nas.study.records import read_rows
from space import Genome, InputError
from trials.config import TrialConfig
from trials.latency.measure import Latency
from trials.latency.statistics import LatencyRatio

LOOK_S = 1.0
Timed = tuple[Latency, LatencyRatio]


def settle_latency_device(
    study: optuna.Study, kind: str, name: str, judge: str | None, *, is_begun: bool = False
) -> bool:
    """Whether this process, on the device `name`, may time networks of `study`; stores whose clock
    counts.

    Without `judge` it is that of the study's first process. `is_begun` says that a trial is being
    run at the moment: to be asked and called inside `study_lock.asking`, so that of two processes that
    join at once the later sees what the earlier does. Raises InputError where this device is
    another, or where `judge` is not the device on which latencies were measured so far.
    """
    known = str(study.user_attrs.get("device", {}).get("name") or "")
    measured = is_begun or any(row.latency_ms for row in read_rows(study))
    if judge is None:
        if known and measured and known != name:
            raise InputError(
                f"study {study.study_name!r} must be timed on one model of device, which "
                f"is {known}, but this is "
                f"{name}; run it there, let this one only train (--judge {known!r}), or "
                f"start another study with "
                "--runs DIR"
            )
        study.set_user_attr("device", {"kind": kind, "name": name})
        return True
    if known and measured and known != judge:
        raise InputError(
            f"--judge must be the device that has timed this study so far, {known}, but "
            f"got {judge}; "
            "give that, or start another study with --runs DIR"
        )
    study.set_user_attr("device", {"kind": kind, "name": judge})
    return name == judge


def check_latency_device(study: optuna.Study, name: str) -> None:
    """Raises InputError unless `name` is still the device whose clock counts. To be called inside
    `study_lock.asking`, where a trial is asked for: another process may have settled on its own device
    before there was any.
    """
    known = str(study.user_attrs.get("device", {}).get("name") or name)
    if known != name:
        raise InputError(
            f"study {study.study_name!r} is timed on {known}, by a process that joined at "
            f"the same moment, and not on "
            f"{name}; run it there, or let this one only train (--judge {known!r})"
        )


@dataclass(frozen=True, kw_only=True)
class LatencyDevice:
    """One process's side of it: a judge itself (`is_here`), or one that asks judges."""

    study: optuna.Study
    config: TrialConfig
    is_here: bool
    time_network: Callable[[Genome, TrialConfig], Timed]
    """trials.time_network, or a stand-in."""

    def wait(self, trial: optuna.Trial, tell: Callable[[], None]) -> Timed:
        """The timing of `trial`'s network by a judge; `tell` is called while it waits. InputError
        where it could not be timed.
        """
        if "timed" not in trial.user_attrs:
            trial.set_user_attr("wants_timing", True)
        while (told := self._answer(trial)) is None:
            tell()
            time.sleep(LOOK_S)
        if "failed" in told:
            raise InputError(f"the judge could not time this network: {told['failed']}")
        return Latency.from_dict(told["latency"]), LatencyRatio(**told["ratio_to_mo"])

    def serve(self) -> list[int]:
        """Times the networks that other processes wait for, and gives their trials' numbers."""
        if not self.is_here:
            return []
        served = []
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            attrs = trial.user_attrs
            if attrs.get("wants_timing") and "timed" not in attrs and "genome" in attrs:
                # Another judge may time it too at the same moment: one of two right answers is
                # kept.
                answer = self._time(Genome.from_json(attrs["genome"]))
                self.study._storage.set_trial_user_attr(trial._trial_id, "timed", answer)
                served.append(trial.number)
        return served

    def _time(self, genome: Genome) -> dict[str, Any]:
        try:
            latency, ratio = self.time_network(genome, self.config)
        except (MemoryError, RuntimeError) as error:
            return {"failed": one_line(error)}
        return {"latency": latency.to_dict(), "ratio_to_mo": ratio.to_dict()}

    def _answer(self, trial: optuna.Trial) -> dict[str, Any] | None:
        told: dict[str, Any] | None = self.study._storage.get_trial(
            trial._trial_id
        ).user_attrs.get("timed")
        return told
