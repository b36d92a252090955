"""A study's trials as observations for a model, with the PSNR of stopped ones imputed.

Optuna counts a trial without values as bad, or leaves it out. Neither is true of a network that
was stopped because two thirds of the others were better: it is measured but for its end. So its
final PSNR is predicted from its last rung. The study keeps only what was measured.

Running trials count as well, so that no two workers explore the same place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.study.schema import END, VERDICTS

Array = NDArray[np.float64]
# With fewer networks trained to the end, only their mean gain from the rung is used.
FEWEST_FOR_A_LINE = 5
# The line's slope is shrunk to 1 (all gain alike) by the weight of networks spread so far, dB².
PRIOR_DB2 = 1.0
STEEPEST = 1.5


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A network with a PSNR, measured or predicted."""

    number: int
    """Of its trial."""
    params: Mapping[str, Any]
    psnr_db: float
    """At the end of its training."""
    latency_ms: float
    rungs: Mapping[float, float]
    """Measured PSNR (dB) by step, that at the end of the training at infinity."""

    @property
    def is_measured(self) -> bool:
        """Whether `psnr_db` was measured."""
        return math.inf in self.rungs


@dataclass(frozen=True, kw_only=True)
class Observations:
    """A study as a model is trained on it, each part in the order of the trials."""

    scored: list[Observation]
    """Networks that reached a rung or the end; those that still train are the last."""
    pending: list[Mapping[str, Any]]
    """Parameters of running trials that have reached no rung."""
    over_limit: list[tuple[Mapping[str, Any], float]]
    """Parameters and ratio to MO of networks over the latency limit, which were never trained."""
    digests: set[str]
    """Of the networks that have a verdict or run now."""


def observe(trials: Sequence[FrozenTrial], number: int, *, genes: int, most: int) -> Observations:
    """What is known when trial `number` is proposed: of the last `most` trained or training trials
    that have all `genes` parameters.

    What is predicted of a trial depends on trials of lower numbers only, so that a search that was
    stopped and continued proposes what an unbroken one would have.
    """
    ended, running = list[FrozenTrial](), list[FrozenTrial]()
    over_limit = list[tuple[Mapping[str, Any], float]]()
    digests = set[str]()
    for trial in trials:
        attrs, kind = trial.user_attrs, trial.user_attrs.get("kind")
        if "digest" in attrs and (trial.state == TrialState.RUNNING or kind in VERDICTS):
            digests.add(str(attrs["digest"]))
        # A network counts once, however often it was proposed.
        if trial.number == number or "repeat_of" in attrs or len(trial.params) != genes:
            continue
        if trial.state == TrialState.RUNNING:
            running.append(trial)
        elif trial.state == TrialState.COMPLETE or (kind == "stopped" and _rungs(trial)):
            ended.append(trial)
        elif kind == "over_limit" and "ratio_to_mo" in attrs:
            over_limit.append((trial.params, float(attrs["ratio_to_mo"])))
    finals = _Finals(ended)
    scored, pending = list[Observation](), list[Mapping[str, Any]]()
    for trial in [*ended, *running][-most:]:
        if trial.state == TrialState.RUNNING and not _rungs(trial):
            pending.append(trial.params)
        else:
            scored.append(finals.observation(trial))
    return Observations(scored=scored, pending=pending, over_limit=over_limit, digests=digests)


class _Finals:
    """The PSNR at rungs and at the end, of the complete ones among `trials`."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        pairs: dict[int, list[tuple[int, float, float]]] = {}
        for trial in trials:
            if trial.state == TrialState.COMPLETE:
                for rung in (trial.user_attrs.get("rungs") or ())[:-1]:
                    pair = (trial.number, float(rung["psnr_db"]), float(trial.values[0]))
                    pairs.setdefault(int(rung["step"]), []).append(pair)
        self._pairs = {step: np.array(rows).T for step, rows in pairs.items()}

    def observation(self, trial: FrozenTrial) -> Observation:
        rungs = {
            float(rung["step"]): float(rung["psnr_db"])
            for rung in trial.user_attrs.get("rungs") or ()
            if rung.get("psnr_db") is not None and rung.get("decision") != END
        }
        if trial.state == TrialState.COMPLETE:
            psnr_db, latency_ms = trial.values
            rungs[math.inf] = float(psnr_db)
        else:
            last = _rungs(trial)[-1]
            psnr_db, latency_ms = float(last["psnr_db"]), float(last["latency_ms"])
            if (pairs := self._pairs.get(int(last["step"]))) is not None:
                _, at_rung, final = pairs[:, pairs[0] < trial.number]
                psnr_db = predict(at_rung, final, psnr_db)
        values: dict[str, Any] = {"psnr_db": psnr_db, "latency_ms": latency_ms, "rungs": rungs}
        return Observation(number=trial.number, params=trial.params, **values)


def predict(at_rung: Array, final: Array, psnr_db: float) -> float:
    """The final PSNR (dB) of a network with `psnr_db` at a rung, by that of whole trainings there
    and at their ends.

    A line through them, its slope shrunk to 1; without any, `psnr_db` itself.
    """
    if not len(at_rung):
        return psnr_db
    if len(at_rung) < FEWEST_FOR_A_LINE:
        return float(psnr_db + (final - at_rung).mean())
    dx, dy = at_rung - at_rung.mean(), final - final.mean()
    slope = (dx @ dy + PRIOR_DB2) / (dx @ dx + PRIOR_DB2)
    return float(final.mean() + min(max(float(slope), 0.0), STEEPEST) * (psnr_db - at_rung.mean()))


def _rungs(trial: FrozenTrial) -> list[Mapping[str, Any]]:
    """The rungs that `trial` reached after it was timed."""
    rungs = trial.user_attrs.get("rungs") or ()
    return [rung for rung in rungs if rung.get("latency_ms") is not None]
