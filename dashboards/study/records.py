"""What a study holds, read once: a `Record` for each trial, and what they have in common.

It is read by nas.study, and made fit for plots and pages. What a study lacks (an older search, a
killed one, another tool's study) is None or empty here, never an error.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.study.pareto import front_rows
from nas.study.records import Row, mo_latency_ms, read_rows
from nas.study.schema import ImageAttrs, RungAttrs, study_attrs, trial_attrs

ARTIFACT_PREFIX = "artifacts:"  # of Optuna's own attribute for each artifact


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A step of a training where it was scored on the held-out pairs."""

    step: int
    psnr_db: float | None
    ssim: float | None = None
    loss: float | None = None
    seconds: float | None = None
    decision: str = "on"  # or "stopped", "exempt", "end"


@dataclass(frozen=True, kw_only=True)
class Record(Row):
    """One trial, as nas.study reads it, with what plots and pages show of it."""

    genome: dict[str, Any] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    latency_low_ms: float | None = None  # ends of the 95 % interval
    latency_high_ms: float | None = None
    images: tuple[ImageAttrs, ...] = ()
    rungs: tuple[Rung, ...] = ()
    train_seconds: float | None = None
    ended_at: datetime.datetime | None = None
    sampler: str | None = None
    artifacts: dict[str, str] = field(default_factory=dict)  # ids by file name
    on_front: bool = False

    @property
    def ratio_low(self) -> float | None:
        """The lower end of the ratio's 95 % interval; the ratio itself where that is unknown."""
        return self.ratio_interval[0] if self.ratio_interval else self.ratio_to_mo

    @property
    def ratio_high(self) -> float | None:
        """The upper end, likewise."""
        return self.ratio_interval[1] if self.ratio_interval else self.ratio_to_mo


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """A study's trials in the order of their numbers, and what holds for all of them."""

    study: str
    records: tuple[Record, ...]
    ours: bool  # whether nas.search made it: another tool's has no genomes and no latencies
    latency_limit_ms: float | None
    config: dict[str, Any]
    device: Mapping[str, Any]
    data: dict[str, Any]
    baseline_psnr_db: float | None
    reference: tuple[float, float] | None  # the hypervolume's: (psnr_db, latency_ms)
    latency: dict[str, Any]  # how it was timed: MO's latency attribute, or any network's
    remeasured: bool  # whether the front was timed again in one run at the search's end

    @property
    def points(self) -> list[Record]:
        """The networks with both objectives, repeats left out, fastest first."""
        return sorted(
            (r for r in self.records if r.is_point), key=lambda r: (r.latency_ms or 0.0, r.number)
        )

    @property
    def front(self) -> list[Record]:
        """Those that no other beats in both, within the latency limit, fastest first."""
        return [r for r in self.points if r.on_front]

    @property
    def baselines(self) -> list[Record]:
        """MO, M1, M2 as far as they are points."""
        return [r for r in self.points if r.baseline is not None]

    @property
    def timed(self) -> str:
        """Frame, device and threads of the latencies, in words."""
        at = self.latency
        if not at:
            return "not timed yet"
        count = at.get("threads") if at.get("device") == "cpu" else None
        threads = f", {count} thread{'s' * (count > 1)}" if count else ""
        device = at.get("device_name", at.get("device"))
        return f"{at.get('height')} x {at.get('width')} mosaic, {device}{threads}"


def read_records(study: optuna.Study) -> StudyRecords:
    """All of `study` as it is now; an empty study gives no records."""
    attrs, rows = study_attrs(study), read_rows(study)
    trials = study.get_trials(deepcopy=False)
    mo_ms = mo_latency_ms(rows)
    records = [_record(row, trials[row.number], mo_ms) for row in rows]
    limit = attrs.get("config", {}).get("latency_limit_ms")
    front = {record.number for record in front_rows(records, limit)}
    timed = [t for t in map(trial_attrs, trials) if t.get("latency")]
    timed.sort(key=lambda t: t.get("baseline") != "MO")
    reference = attrs.get("reference")
    return StudyRecords(
        study=study.study_name,
        records=tuple(replace(r, on_front=True) if r.number in front else r for r in records),
        ours="schema" in attrs and len(study.directions) == 2,
        latency_limit_ms=limit,
        config=attrs.get("config", {}),
        device=attrs.get("device", {}),
        data=attrs.get("data", {}),
        baseline_psnr_db=attrs.get("baseline_psnr_db"),
        latency=timed[0]["latency"] if timed else {},
        remeasured=bool(attrs.get("final_latency")),
        reference=(reference["psnr_db"], reference["latency_ms"]) if reference else None,
    )


def _record(row: Row, trial: FrozenTrial, mo_ms: float | None) -> Record:
    attrs, values = trial_attrs(trial), trial.values
    foreign: dict[str, Any] = {}  # of another tool's trial: its state and values
    if "kind" not in attrs and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
        foreign["kind"] = trial.state.name.lower()
    for key, value in zip(("psnr_db", "latency_ms"), values or (), strict=False):
        if len(values) == 2 and getattr(row, key) is None:
            foreign[key] = value
    latency, ratio = attrs.get("latency") or {}, row.ratio_to_mo
    low_ms, high_ms = latency.get("low_ms"), latency.get("high_ms")
    if ratio is not None and mo_ms is not None:
        low_ms, high_ms = (end * mo_ms for end in row.ratio_interval or (ratio, ratio))
    return Record(
        **vars(row) | foreign,
        genome=_json(attrs.get("genome")),
        params=trial.params,
        latency_low_ms=low_ms,
        latency_high_ms=high_ms,
        images=tuple(attrs.get("images") or ()),
        rungs=tuple(_rung(rung) for rung in attrs.get("rungs") or ()),
        train_seconds=attrs.get("train_seconds"),
        ended_at=trial.datetime_complete,
        sampler=attrs.get("sampler"),
        artifacts=_artifacts(trial.system_attrs),
    )


def _rung(stored: RungAttrs) -> Rung:
    known: dict[str, Any] = {k: v for k, v in stored.items() if k in Rung.__dataclass_fields__}
    return Rung(**known)


def _artifacts(system_attrs: Mapping[str, Any]) -> dict[str, str]:
    metas = (
        json.loads(value)
        for key, value in system_attrs.items()
        if key.startswith(ARTIFACT_PREFIX) and value
    )
    # What a user deletes in optuna-dashboard stays as null.
    return {meta["filename"]: meta["artifact_id"] for meta in metas if meta is not None}


def _json(text: Any) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (TypeError, ValueError):
        return None
    return value if isinstance(value, dict) else None
