"""Stops trials at the rungs of their training: the rule of nas/study/ranking.py, on a live study.

Baselines and genomes that a user queued are ranked like all others, and never stopped.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

import optuna

from nas.study.ranking import RungEntry, is_promoted
from nas.study.schema import Decision, RungAttrs, set_trial_attrs, trial_attrs
from trials import RungScore


def rung_entries(study: optuna.Study, step: int) -> list[RungEntry]:
    """All networks of `study` that reached the rung at `step`, each once."""
    entries: dict[str, RungEntry] = {}
    for trial in study.get_trials(deepcopy=False):
        attrs = trial_attrs(trial)
        digest = str(attrs.get("digest"))
        for rung in attrs.get("rungs") or ():
            psnr_db, latency_ms = rung.get("psnr_db"), rung.get("latency_ms")
            if rung["step"] == step and psnr_db is not None and latency_ms is not None:
                entries[digest] = RungEntry(psnr_db=psnr_db, latency_ms=latency_ms, digest=digest)
    return list(entries.values())


@dataclass(kw_only=True)
class Rungs:
    """The rungs of one trial; its scores are stored, where all workers and a restart see them."""

    study: optuna.Study
    trial: optuna.Trial
    digest: str
    exempt: bool
    enabled: bool

    @property
    def may_stop(self) -> bool:
        """Whether any rung could stop it."""
        return self.enabled and not self.exempt

    def __call__(self, score: RungScore) -> bool:
        """Stores `score`, decides whether the trial is promoted, and stores that too."""
        attrs = trial_attrs(self.trial)
        reached = [rung for rung in attrs.get("rungs") or () if rung["step"] < score.step]
        rung = cast(RungAttrs, asdict(score) | {"decision": "on"})
        set_trial_attrs(self.trial, rungs=[*reached, rung])
        if not self.may_stop:
            decision: Decision = "exempt" if self.exempt else "on"
        else:
            assert score.latency_ms is not None  # a trial is timed before it is trained
            entry = RungEntry(
                psnr_db=score.psnr_db, latency_ms=score.latency_ms, digest=self.digest
            )
            others = rung_entries(self.study, score.step)
            decision = "on" if is_promoted(entry, others) else "stopped"
        if decision != "on":
            set_trial_attrs(self.trial, rungs=[*reached, {**rung, "decision": decision}])
        return decision != "stopped"
