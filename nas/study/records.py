"""The trials of a study, read from their stored attributes: one `Row` each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast
from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.study.internals import storage_of, study_id
from nas.study.schema import VERDICTS, study_attrs, trial_attrs

# A ratio is marked that drifts by more than this share from the first third of its rounds to the
# last, and by more than its interval is wide (else it may be chance).
STEADY = 0.02


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial; None where it has no such figure (yet)."""

    number: int
    kind: str
    """A kind of nas/study/schema.py, or waiting or running."""
    baseline: str | None = None
    """MO, M1 or M2, on the published networks."""
    digest: str | None = None
    psnr_db: float | None = None
    ssim: float | None = None
    latency_ms: float | None = None
    ratio_to_mo: float | None = None
    ratio_interval: tuple[float, float] | None = None
    """95 % confidence of `ratio_to_mo`."""
    steady: bool = True
    """False where the figure drifted while it was timed: something else used the device."""
    remeasured: bool = False
    """Whether latency and ratio are those of the front's measurement at a search's end."""
    parameters: int | None = None
    macs: int | None = None
    seconds: float | None = None
    repeat_of: int | None = None
    message: str = ""
    directory: str | None = None

    @property
    def name(self) -> str:
        """MO, M1, M2, or the first eight digits of the genome's digest."""
        return self.baseline or (self.digest or "")[:8] or f"trial {self.number}"

    @property
    def is_verdict(self) -> bool:
        """Whether it counts among the finished trials: a verdict about a network, reached here."""
        return self.kind in VERDICTS and self.repeat_of is None

    @property
    def is_point(self) -> bool:
        """Whether it is a network with both objectives, counted once."""
        has_both = self.psnr_db is not None and self.latency_ms is not None
        return has_both and self.kind == "complete" and self.repeat_of is None


def read_rows(study: optuna.Study) -> list[Row]:
    """All trials of `study`, in the order of their numbers, with latencies on MO's clock.

    A shared machine is a tenth slower in one minute than in the next. Each network was timed in
    turn with MO, so its ratio to MO is free of that; times MO's milliseconds it is comparable
    across the study. The ratio measured at a search's end goes before the trial's own.
    """
    final = study_attrs(study).get("final_latency", {})
    trials = study.get_trials(deepcopy=False)
    mo_ms = next((ms for ms in map(_mo_latency_ms, trials) if ms), None)
    cache = _CACHES.setdefault(storage_of(study), {}).setdefault(study_id(study), _Cache())
    if (cache.mo_ms, cache.final) != (mo_ms, final):
        cache.mo_ms, cache.final, cache.rows = mo_ms, final, {}
    for trial in trials:
        cached, _ = cache.rows.get(trial.number, (None, None))
        if cached is not trial or not trial.state.is_finished():
            row = _remeasured(read_row(trial), final)
            latency_ms = on_mos_clock(row.latency_ms, row.ratio_to_mo, mo_ms)
            cache.rows[trial.number] = trial, replace(row, latency_ms=latency_ms)
    return [cache.rows[trial.number][1] for trial in trials]


@dataclass
class _Cache:
    """The rows of one study, which hold for this MO and this measurement of the front.

    A finished trial changes no more, and its storage gives the same object again. Without this,
    each reading of 10,000 trials took 140 ms, and there are five a trial.
    """

    rows: dict[int, tuple[FrozenTrial, Row]] = field(default_factory=dict)
    mo_ms: float | None = None
    final: dict[str, dict[str, Any]] = field(default_factory=dict)


# By storage, for as long as that lives, and by the study's id.
_CACHES: WeakKeyDictionary[BaseStorage, dict[int, _Cache]] = WeakKeyDictionary()


def _mo_latency_ms(trial: FrozenTrial) -> float | None:
    attrs = trial_attrs(trial)
    return (attrs.get("latency") or {}).get("median_ms") if attrs.get("baseline") == "MO" else None


def on_mos_clock(
    latency_ms: float | None, ratio_to_mo: float | None, mo_ms: float | None
) -> float | None:
    """MO's milliseconds in this study times the ratio to MO; where one is unknown `latency_ms`."""
    if latency_ms is None or ratio_to_mo is None or mo_ms is None:
        return latency_ms
    return ratio_to_mo * mo_ms


def read_row(trial: FrozenTrial) -> Row:
    """One trial, its latency as it was measured."""
    attrs = trial_attrs(trial)
    state = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running"}.get(trial.state)
    latency, cost = attrs.get("latency") or {}, attrs.get("cost") or {}
    ratio, interval = attrs.get("ratio_to_mo"), attrs.get("ratio_to_mo_interval")
    steady = _is_steady(attrs.get("ratio_drift", 0.0), ratio, interval)
    if attrs.get("baseline") == "MO":  # the unit: of the others only the ratio counts
        steady = latency.get("steady", True)
    return Row(
        number=trial.number,
        kind=state or attrs.get("kind", "error"),
        baseline=attrs.get("baseline"),
        digest=attrs.get("digest"),
        psnr_db=attrs.get("psnr_db"),
        ssim=attrs.get("ssim"),
        latency_ms=latency.get("median_ms"),
        ratio_to_mo=ratio,
        ratio_interval=cast(tuple[float, float], tuple(interval)) if interval else None,
        steady=steady,
        parameters=cost.get("parameters"),
        macs=cost.get("macs"),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        repeat_of=attrs.get("repeat_of"),
        message=attrs.get("message", ""),
        directory=attrs.get("directory"),
    )


def _remeasured(row: Row, final: dict[str, dict[str, Any]]) -> Row:
    measured = final.get(row.digest or "")
    if measured is None or row.kind != "complete" or row.baseline == "MO":
        return row
    ratio = measured["ratio_to_mo"]
    value, interval = ratio["value"], (ratio["low"], ratio["high"])
    steady = _is_steady(ratio["drift"], value, interval)
    new = {"ratio_to_mo": value, "ratio_interval": interval, "steady": steady}
    return replace(row, remeasured=True, **new)


def _is_steady(drift: float, ratio: float | None, interval: Sequence[float] | None) -> bool:
    width = (interval[1] - interval[0]) / ratio if interval and ratio else 0.0
    return drift <= max(STEADY, width)


def finished(rows: Sequence[Row]) -> int:
    """How many different networks have a verdict: what `--trials` counts."""
    return len({row.digest for row in rows if row.is_verdict})


def known_networks(rows: Sequence[Row]) -> dict[str, Row]:
    """The latest verdict about each network, by digest."""
    return {row.digest: row for row in rows if row.is_verdict and row.digest}


def mo_latency_ms(rows: Sequence[Row]) -> float | None:
    """MO's median latency in this study; None before it is measured."""
    return next((row.latency_ms for row in rows if row.baseline == "MO" and row.latency_ms), None)
