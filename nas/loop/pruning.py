"""Early stopping of one trial by its scores at the rungs (the rule: nas/study/ranking.py)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna

from nas.study.ranking import EXEMPT, ON, STOPPED, RungEntry, is_promoted, rung_entries
from trials.training.rungs import RungScore


@dataclass(kw_only=True)
class Rungs:
    """The rungs of one trial; its scores are stored in the study, where all workers and a restart
    see them.
    """

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
        reached = [
            rung for rung in self.trial.user_attrs.get("rungs") or () if rung["step"] < score.step
        ]
        rung: dict[str, Any] = {**score.to_dict(), "decision": ON}
        self.trial.set_user_attr("rungs", [*reached, rung])
        if not self.may_stop:
            decision = EXEMPT if self.exempt else ON
        else:
            latency_ms = score.latency_ms
            assert latency_ms is not None  # a trial is timed before it is trained
            entry = RungEntry(psnr_db=score.psnr_db, latency_ms=latency_ms, digest=self.digest)
            promoted = is_promoted(entry, rung_entries(self.study, score.step))
            decision = ON if promoted else STOPPED
        if decision != ON:
            self.trial.set_user_attr("rungs", [*reached, {**rung, "decision": decision}])
        return decision != STOPPED
