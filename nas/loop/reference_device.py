"""The latency device: a study's latencies are those of one model of device.

Milliseconds of two devices don't compare, and neither do ratios to MO. So a worker on another
device than the study's is refused, unless the study names its latency device: then such a worker
trains, and has its networks timed by the workers that run on that device. It marks its running
trial (`wants_timing`), and waits for the answer (`timed`); they look for marked trials between
their own.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from nas.cli.parser import one_line
from nas.study.internals import storage_of, trial_id
from nas.study.records import read_rows
from nas.study.schema import set_study_attrs, set_trial_attrs, study_attrs
from space import Genome, InputError
from trials.config import TrialConfig
from trials.latency.measure import Latency
from trials.latency.statistics import LatencyRatio

POLL_S = 1.0
Timed = tuple[Latency, LatencyRatio]


def settle_latency_device(
    study: optuna.Study,
    kind: str,
    name: str,
    latency_device: str | None,
    *,
    is_begun: bool = False,
) -> bool:
    """Whether this process, on the device `name`, may time networks of `study`; stores which
    device does: `latency_device`, else that of the study's first process.

    To be called inside `study_lock`, so that of two processes that join at once the later sees
    what the earlier does: `is_begun` says that a trial runs now. Raises InputError where another
    device has timed the study so far.
    """
    timing_name, stored = latency_device or name, study_attrs(study).get("device")
    is_settled = is_begun or any(row.latency_ms for row in read_rows(study))
    if is_settled and stored and (settled := stored["name"]) != timing_name:
        if latency_device:
            raise InputError(
                f"--latency-device must be {settled}, which has timed this study so far, but got "
                f"{latency_device}; give that, or start another study with --runs DIR"
            )
        raise InputError(
            f"study {study.study_name!r} must be timed on one model of device, which is "
            f"{settled}, but this is {name}; run it there, let this one only train "
            f"(--latency-device {settled!r}), or start another study with --runs DIR"
        )
    set_study_attrs(study, device={"kind": kind, "name": timing_name})
    return name == timing_name


def check_latency_device(study: optuna.Study, name: str) -> None:
    """InputError unless `name` is still the study's latency device. To be called inside
    `study_lock`: another process may have settled on its own before there was any trial.
    """
    device = study_attrs(study).get("device")
    if device and (stored := device["name"]) != name:
        raise InputError(
            f"study {study.study_name!r} is timed on {stored}, by a process that joined at the "
            f"same moment, and not on {name}; run it there, or let this one only train "
            f"(--latency-device {stored!r})"
        )


@dataclass(frozen=True, kw_only=True)
class LatencyDevice:
    """How one process has networks timed: by itself (`is_here`), or by processes that may."""

    study: optuna.Study
    config: TrialConfig
    is_here: bool
    time_network: Callable[[Genome, TrialConfig], Timed]
    """trials.time_network, or a stand-in."""

    def wait(self, trial: optuna.Trial, on_wait: Callable[[], None]) -> Timed:
        """The timing of `trial`'s network by another process; `on_wait` is called meanwhile.
        InputError where it could not be timed.
        """
        if "timed" not in trial.user_attrs:
            set_trial_attrs(trial, wants_timing=True)
        read = functools.partial(storage_of(self.study).get_trial, trial_id(trial))
        while (answer := read().user_attrs.get("timed")) is None:
            on_wait()
            time.sleep(POLL_S)
        if "failed" in answer:
            raise InputError(f"the latency device could not time it: {answer['failed']}")
        return Latency.from_dict(answer["latency"]), LatencyRatio(**answer["ratio_to_mo"])

    def serve(self) -> list[int]:
        """Times the networks that other processes wait for; the numbers of their trials."""
        if not self.is_here:
            return []
        served = []
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            attrs = trial.user_attrs
            if attrs.get("wants_timing") and "timed" not in attrs and "genome" in attrs:
                # Another process may time it at the same moment: one of two right answers stays.
                answer = self._time(Genome.from_json(attrs["genome"]))
                storage_of(self.study).set_trial_user_attr(trial_id(trial), "timed", answer)
                served.append(trial.number)
        return served

    def _time(self, genome: Genome) -> dict[str, Any]:
        try:
            latency, ratio = self.time_network(genome, self.config)
        except (MemoryError, RuntimeError) as error:
            return {"failed": one_line(error)}
        return {"latency": latency.to_dict(), "ratio_to_mo": ratio.to_dict()}
