"""What a study holds, read once: a `Record` for each trial, and what they have in common. All that
is shown starts here.

The names of the attributes are those of the contract at the top of nas/study/store.py. What a
study lacks (an older search, a killed one, another tool's study) is None or empty here, never an
error.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

ARTIFACT_PREFIX = "artifacts:"  # of Optuna's own attribute for each artifact
BASELINES = ("MO", "M1", "M2")


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A stop on the way of a training, where it was judged: PSNR in dB on the held-out pairs, and
    what was decided ("on", "stopped", "exempt" or "end").
    """

    step: int
    psnr_db: float | None
    ssim: float | None = None
    loss: float | None = None
    seconds: float | None = None
    decision: str = "on"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One trial. Latencies in ms on MO's clock: the ratio to MO times MO's own ms, with the
    ratio's 95 % interval.
    """

    number: int
    trial_id: int
    kind: str
    """waiting, running, or a kind of nas/study/store.py: complete, stopped, over_limit, diverged,
    out_of_memory, error, interrupted.
    """
    name: str
    """MO, M1, M2, or the first eight digits of the genome's digest."""
    baseline: str | None = None
    digest: str | None = None
    genome: dict[str, Any] | None = None
    params: dict[str, Any] = field(default_factory=dict)
    psnr_db: float | None = None
    ssim: float | None = None
    latency_ms: float | None = None
    latency_low_ms: float | None = None
    latency_high_ms: float | None = None
    ratio_to_mo: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    parameters: int | None = None
    macs: int | None = None
    images: tuple[dict[str, Any], ...] = ()
    """Of each held-out pair: name, psnr_db, ssim."""
    rungs: tuple[Rung, ...] = ()
    train_seconds: float | None = None
    started_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    sampler: str | None = None
    repeat_of: int | None = None
    message: str = ""
    artifacts: dict[str, str] = field(default_factory=dict)
    """Artifact ids by file name (drawing.svg, preview.png, curve.csv, genome.json,
    weights.safetensors ...).
    """
    on_front: bool = False

    @property
    def is_point(self) -> bool:
        """Whether it is a network with both objectives, counted once."""
        return (
            self.kind == "complete"
            and self.repeat_of is None
            and self.psnr_db is not None
            and self.latency_ms is not None
        )


@dataclass(frozen=True, kw_only=True)
class StudyRecords:
    """A study's trials in the order of their numbers, and what holds for all of them."""

    study: str
    records: tuple[Record, ...]
    ours: bool
    """Whether nas.search made it (a study of another tool has no genomes and no latencies)."""
    latency_limit_ms: float | None
    config: dict[str, Any]
    device: dict[str, Any]
    data: dict[str, Any]
    baseline_psnr_db: float | None
    reference: tuple[float, float] | None
    """(psnr_db, latency_ms) from which the hypervolume counts."""
    latency: dict[str, Any]
    """How it was timed: MO's latency attribute (height, width, dtype, runtime, device_name,
    threads ...), or any network's.
    """
    remeasured: bool
    """Whether the front was timed again in one run at the search's end."""

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
        threads = at.get("threads")
        counted = (
            f", {threads} thread{'s' * (threads > 1)}"
            if at.get("device") == "cpu" and threads
            else ""
        )
        return (
            f"{at.get('height')} x {at.get('width')} mosaic, "
            f"{at.get('device_name', at.get('device'))}{counted}"
        )


def read_records(study: optuna.Study) -> StudyRecords:
    """All of `study` as it is now; an empty study gives no records."""
    attrs = study.user_attrs
    ours = "schema" in attrs and len(study.directions) == 2
    trials = study.get_trials(deepcopy=False)
    mo = next(
        (
            t.user_attrs["latency"]
            for t in trials
            if t.user_attrs.get("baseline") == "MO" and "latency" in t.user_attrs
        ),
        None,
    )
    again: dict[str, Any] = attrs.get("final_latency", {})
    records = [
        _record(trial, None if mo is None else mo.get("median_ms"), again) for trial in trials
    ]
    limit = attrs.get("config", {}).get("latency_limit_ms")
    reference = attrs.get("reference")
    any_latency: dict[str, Any] = mo or next(
        (t.user_attrs["latency"] for t in trials if t.user_attrs.get("latency")), {}
    )
    return StudyRecords(
        study=study.study_name,
        records=tuple(_with_front(records, limit)),
        ours=ours,
        latency_limit_ms=limit,
        config=attrs.get("config", {}),
        device=attrs.get("device", {}),
        data=attrs.get("data", {}),
        baseline_psnr_db=attrs.get("baseline_psnr_db"),
        latency=any_latency,
        remeasured=bool(again),
        reference=(reference["psnr_db"], reference["latency_ms"]) if reference else None,
    )


def _record(trial: FrozenTrial, mo_ms: float | None, again: Mapping[str, Any]) -> Record:
    attrs = trial.user_attrs
    state = {TrialState.WAITING: "waiting", TrialState.RUNNING: "running"}.get(trial.state)
    latency, cost = attrs.get("latency") or {}, attrs.get("cost") or {}
    ratio, low, high = _ratio(attrs, again)
    unit = mo_ms if ratio is not None else None
    measured = latency.get("median_ms")
    digest = attrs.get("digest")
    kind = (
        state
        or attrs.get("kind")
        or ("error" if trial.state == TrialState.FAIL else trial.state.name.lower())
    )
    return Record(
        number=trial.number,
        trial_id=trial._trial_id,
        kind=kind,
        baseline=attrs.get("baseline"),
        digest=digest,
        name=attrs.get("baseline") or (digest or "")[:8] or f"trial {trial.number}",
        genome=_json(attrs.get("genome")),
        params=trial.params,
        psnr_db=attrs.get("psnr_db", _value(trial, 0)),
        ssim=attrs.get("ssim"),
        latency_ms=_times(ratio, unit, measured if measured is not None else _value(trial, 1)),
        latency_low_ms=_times(low, unit, latency.get("low_ms")),
        latency_high_ms=_times(high, unit, latency.get("high_ms")),
        ratio_to_mo=ratio,
        ratio_low=low,
        ratio_high=high,
        parameters=cost.get("parameters"),
        macs=cost.get("macs"),
        images=tuple(attrs.get("images") or ()),
        rungs=tuple(_rungs(attrs.get("rungs"))),
        train_seconds=attrs.get("train_seconds"),
        started_at=trial.datetime_start,
        ended_at=trial.datetime_complete,
        sampler=attrs.get("sampler"),
        repeat_of=attrs.get("repeat_of"),
        message=attrs.get("message", ""),
        artifacts=_artifacts(trial.system_attrs),
    )


def _ratio(
    attrs: Mapping[str, Any], again: Mapping[str, Any]
) -> tuple[float | None, float | None, float | None]:
    """The ratio to MO with its interval: the front's last measurement where the network was in it,
    else the trial's.
    """
    found = again.get(attrs.get("digest", ""))
    if attrs.get("baseline") != "MO" and found is not None:
        ratio = found["ratio_to_mo"]
        return ratio["value"], ratio["low"], ratio["high"]
    value = attrs.get("ratio_to_mo")
    low, high = attrs.get("ratio_to_mo_interval") or (value, value)
    return value, low, high


def _with_front(records: Sequence[Record], limit_ms: float | None) -> list[Record]:
    """The records with `on_front` set: from fast to slow, each that beats all before it, the
    better of equally fast first.
    """
    best, chosen = -math.inf, set()
    for record in sorted(
        (r for r in records if r.is_point),
        key=lambda r: (r.latency_ms, -(r.psnr_db or 0.0), r.number),
    ):
        assert record.psnr_db is not None and record.latency_ms is not None  # points have both
        if record.psnr_db > best and (limit_ms is None or record.latency_ms <= limit_ms):
            best = record.psnr_db
            chosen.add(record.number)
    return [replace(record, on_front=record.number in chosen) for record in records]


def _rungs(stored: Any) -> list[Rung]:
    known = set(Rung.__dataclass_fields__)
    return [
        Rung(**{key: value for key, value in rung.items() if key in known})
        for rung in stored or ()
    ]


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


def _value(trial: FrozenTrial, index: int) -> float | None:
    return trial.values[index] if trial.values is not None and len(trial.values) == 2 else None


def _times(ratio: float | None, unit: float | None, otherwise: float | None) -> float | None:
    return otherwise if ratio is None or unit is None else ratio * unit
