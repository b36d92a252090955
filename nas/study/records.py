"""What a study has found so far: one `Row` for each of its trials, read from the stored
attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

# The study's attribute with what nas/loop/final_latency.py found.
FRONT_LATENCY = "final_latency"
# A ratio that drifts by more, from the first third of its rounds to the last, and by more than its
# interval is wide (else it may be chance), is marked.
STEADY = 0.02
# Kinds that say something final about a network; see nas/study/store.py.
VERDICTS = ("complete", "stopped", "over_limit", "diverged", "out_of_memory")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial, as the tables show it; None where it has no such figure (yet)."""

    number: int
    kind: str
    """A kind of nas/study/store.py, or waiting or running."""
    baseline: str | None = None
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
    """Whether latency and ratio are those of the front's measurement at a search's end, all
    networks in one run.
    """
    parameters: int | None = None
    macs: int | None = None
    seconds: float | None = None
    repeat_of: int | None = None
    message: str = ""
    directory: str | None = None

    @property
    def name(self) -> str:
        """MO, M1, M2, or the first digits of the genome's digest."""
        return self.baseline or (self.digest or "")[:8] or "-"

    @property
    def is_verdict(self) -> bool:
        """Whether it counts among the finished trials: a verdict about a network, reached here."""
        return self.kind in VERDICTS and self.repeat_of is None


def read_rows(study: optuna.Study) -> list[Row]:
    """All trials of `study`, in the order of their numbers, with latencies on MO's clock.

    A shared machine is a tenth slower in one minute than in the next. Each network was timed in
    turn with MO, so its ratio to MO is free of that; times MO's milliseconds it is comparable
    across the study. A network of the front that was measured again at a search's end has that
    ratio.
    """
    again = study.user_attrs.get(FRONT_LATENCY, {})
    read = _READ.setdefault(study._storage, {}).setdefault(study._study_id, _Read())
    raw = [read.raw(trial) for trial in study.get_trials(deepcopy=False)]
    mo_ms = mo_latency_ms(raw)
    if (mo_ms, again) != (read.mo_ms, read.again):
        read.shown, read.mo_ms, read.again = {}, mo_ms, again
    return [read.show(row) for row in raw]


@dataclass
class _Read:
    """What was read of a study before: an ended trial changes no more, and its storage gives the
    same object again.

    Without it each reading of 10,000 trials took 140 ms, and there are five a trial.
    """

    known: dict[int, tuple[FrozenTrial, Row]] = field(default_factory=dict)
    """By number."""
    shown: dict[int, tuple[Row, Row]] = field(default_factory=dict)
    """By number: rows as they were read, and on the clock of `mo_ms` with the front's timing of
    `again`.
    """
    mo_ms: float | None = None
    again: dict[str, Any] = field(default_factory=dict)

    def raw(self, trial: FrozenTrial) -> Row:
        """`trial` as it was measured."""
        known = self.known.get(trial.number)
        if known is not None and known[0] is trial and trial.state.is_finished():
            return known[1]
        row = read_row(trial)
        self.known[trial.number] = trial, row
        return row

    def show(self, row: Row) -> Row:
        """`row` with the latency that counts."""
        shown = self.shown.get(row.number)
        if shown is not None and shown[0] is row:
            return shown[1]
        counted = _remeasured(row, self.again)
        counted = replace(
            counted, latency_ms=on_mos_clock(counted.latency_ms, counted.ratio_to_mo, self.mo_ms)
        )
        self.shown[row.number] = row, counted
        return counted


# By storage, for as long as that lives, and by the study's id.
_READ: WeakKeyDictionary[BaseStorage, dict[int, _Read]] = WeakKeyDictionary()


def on_mos_clock(
    latency_ms: float | None, ratio_to_mo: float | None, mo_ms: float | None
) -> float | None:
    """MO's milliseconds in this study times the ratio to MO; `latency_ms` as it was measured where
    one is unknown.
    """
    if latency_ms is None or ratio_to_mo is None or mo_ms is None:
        return latency_ms
    return ratio_to_mo * mo_ms


def read_row(trial: FrozenTrial) -> Row:
    """One trial, its latency as it was measured."""
    attrs = trial.user_attrs
    state = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running"}.get(trial.state)
    latency, cost = attrs.get("latency") or {}, attrs.get("cost") or {}
    return Row(
        number=trial.number,
        kind=state or attrs.get("kind", "error"),
        baseline=attrs.get("baseline"),
        digest=attrs.get("digest"),
        psnr_db=attrs.get("psnr_db"),
        ssim=attrs.get("ssim"),
        latency_ms=latency.get("median_ms"),
        ratio_to_mo=attrs.get("ratio_to_mo"),
        ratio_interval=_pair(attrs.get("ratio_to_mo_interval")),
        # MO is the unit, so it is its milliseconds that may drift; of the others only the ratio
        # counts.
        steady=latency.get("steady", True)
        if attrs.get("baseline") == "MO"
        else _is_steady(
            attrs.get("ratio_drift", 0.0),
            attrs.get("ratio_to_mo"),
            attrs.get("ratio_to_mo_interval"),
        ),
        parameters=cost.get("parameters"),
        macs=cost.get("macs"),
        seconds=trial.duration.total_seconds() if trial.duration else None,
        repeat_of=attrs.get("repeat_of"),
        message=attrs.get("message", ""),
        directory=attrs.get("directory"),
    )


def _remeasured(row: Row, again: dict[str, Any]) -> Row:
    found = again.get(row.digest or "")
    if found is None or row.kind != "complete" or row.baseline == "MO":
        return row
    ratio = found["ratio_to_mo"]
    return replace(
        row,
        ratio_to_mo=ratio["value"],
        ratio_interval=(ratio["low"], ratio["high"]),
        steady=_is_steady(ratio["drift"], ratio["value"], (ratio["low"], ratio["high"])),
        remeasured=True,
    )


def _is_steady(drift: float, ratio: float | None, interval: Sequence[float] | None) -> bool:
    width = (interval[1] - interval[0]) / ratio if interval and ratio else 0.0
    return drift <= max(STEADY, width)


def _pair(values: Sequence[float] | None) -> tuple[float, float] | None:
    return None if values is None else (values[0], values[1])


def finished(rows: Sequence[Row]) -> int:
    """How many different networks have a verdict: what `--trials` counts."""
    return len({row.digest for row in rows if row.is_verdict})


def known_networks(rows: Sequence[Row]) -> dict[str, Row]:
    """The latest verdict about each network, by digest."""
    return {row.digest: row for row in rows if row.is_verdict and row.digest}


def mo_latency_ms(rows: Sequence[Row]) -> float | None:
    """MO's median latency in this study, from which the hypervolume counts; None before it is
    measured.
    """
    return next((row.latency_ms for row in rows if row.baseline == "MO" and row.latency_ms), None)
