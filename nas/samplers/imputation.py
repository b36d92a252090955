"""What the sampler learns from stopped trials: the PSNR that they would have reached, foretold
from their last rung.

Optuna counts a trial without values as bad, or leaves it out. Neither is true of a network that
was stopped because two thirds of the others were better: it is a measured network whose end nobody
waited for. So the sampler is shown a study of its own, in memory, where a stopped trial is
complete, with its latency and a foretold PSNR. The real study keeps what was measured.

Trials that run (in other processes) are shown as complete as well, so that no two look at the same
place: with a foretold PSNR where they have passed a rung, else as the worst that there is (the
constant liar of Ginsbourger et al., 2010).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.study.schema import VERDICTS

# Below so many networks trained to the end, only their mean gain from the rung is used.
FEWEST_FOR_A_LINE = 5
# The line's slope is drawn towards 1 (all gain alike) with the weight of networks that spread so
# far, dB².
PRIOR_DB2 = 1.0
STEEPEST = 1.5
NAME = "shown"


def predict(pairs: Sequence[tuple[float, float]], psnr_db: float) -> float:
    """The final PSNR (dB) of a network with `psnr_db` at a rung; `pairs` are (PSNR there, final
    PSNR) of whole trainings.

    A line through them, its slope drawn towards 1; without any, `psnr_db` itself.
    """
    if not pairs:
        return psnr_db
    at_rung, final = np.array(pairs, dtype=float).T
    if len(pairs) < FEWEST_FOR_A_LINE:
        return float(psnr_db + (final - at_rung).mean())
    dx, dy = at_rung - at_rung.mean(), final - final.mean()
    slope = (dx @ dy + PRIOR_DB2) / (dx @ dx + PRIOR_DB2)
    return float(final.mean() + min(max(float(slope), 0.0), STEEPEST) * (psnr_db - at_rung.mean()))


class _Shown(InMemoryStorage):
    """A storage in memory, and besides what is shown of the trials that run at the moment."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[FrozenTrial] = []

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = super().get_all_trials(study_id, deepcopy=deepcopy, states=states)
        return (
            [*found, *self.running] if states is None or TrialState.COMPLETE in states else found
        )


class Imputation:
    """The study as the sampler is shown it, kept up with the real one; it lives as long as a
    search.
    """

    def __init__(self, directions: Sequence[Any]) -> None:
        self._storage = _Shown()
        self.shown = optuna.create_study(
            study_name=NAME, storage=self._storage, directions=list(directions)
        )
        self.digests: set[str] = set()
        """Of the networks about which there is a verdict, or that run now."""
        self._seen: set[int] = set()
        self._pairs: dict[int, list[tuple[int, float, float]]] = {}

    def update(self, study: optuna.Study, study_lock: int | None = None) -> None:
        """Takes in the trials that have ended since, and those that run now but `study_lock`, the
        trial to propose for. What is foretold of an ended trial depends on trials of lower numbers
        only, so that a search which was stopped and goes on proposes what an unbroken one would
        have.
        """
        trials = study.get_trials(deepcopy=False)
        self.digests = {
            str(trial.user_attrs["digest"])
            for trial in trials
            if "digest" in trial.user_attrs
            and (trial.state == TrialState.RUNNING or trial.user_attrs.get("kind") in VERDICTS)
        }
        for trial in trials:
            if trial.number in self._seen or not trial.state.is_finished():
                continue
            self._seen.add(trial.number)
            if "repeat_of" in trial.user_attrs:
                continue  # a network counts once, however often it was proposed
            if trial.state == TrialState.COMPLETE:
                self._remember(trial)
                self.shown.add_trial(trial)
            elif trial.state == TrialState.PRUNED:
                self.shown.add_trial(self._completed(trial))
        running = [
            trial
            for trial in trials
            if trial.state == TrialState.RUNNING and trial.number != study_lock
        ]
        self._storage.running = []
        worst = self._worst()
        self._storage.running = (
            [self._lied(trial, worst) for trial in running if trial.params] if worst else []
        )
        # A study keeps the trials that it has once looked up until it is asked for one, which this
        # one never is.
        self.shown = optuna.load_study(study_name=NAME, storage=self._storage)

    def _remember(self, trial: FrozenTrial) -> None:
        rungs = trial.user_attrs.get("rungs") or []
        for rung in rungs[:-1]:
            pair = (trial.number, float(rung["psnr_db"]), float(trial.values[0]))
            self._pairs.setdefault(int(rung["step"]), []).append(pair)

    def _worst(self) -> tuple[float, float] | None:
        """The lowest PSNR and the highest latency of those that are shown as complete; None before
        there is one.
        """
        values = [
            trial.values
            for trial in self.shown.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        ]
        return (min(psnr for psnr, _ in values), max(ms for _, ms in values)) if values else None

    def _lied(self, trial: FrozenTrial, worst: tuple[float, float]) -> FrozenTrial:
        """A running trial as complete."""
        rungs = [
            rung
            for rung in trial.user_attrs.get("rungs") or []
            if rung.get("latency_ms") is not None
        ]
        values = (
            [self._foretold(trial.number, rungs[-1]), float(rungs[-1]["latency_ms"])]
            if rungs
            else list(worst)
        )
        attrs = {"rungs": rungs, "foretold": True, "pending": not rungs}
        return create_trial(
            state=TrialState.COMPLETE,
            values=values,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=attrs,
        )

    def _foretold(self, number: int, rung: Mapping[str, Any]) -> float:
        pairs = [
            (at, final)
            for other, at, final in self._pairs.get(int(rung["step"]), [])
            if other < number
        ]
        return predict(pairs, float(rung["psnr_db"]))

    def _completed(self, trial: FrozenTrial) -> FrozenTrial:
        """A stopped trial with a foretold PSNR; any other (over a limit) as it is."""
        rungs = trial.user_attrs.get("rungs") or []
        if (
            trial.user_attrs.get("kind") != "stopped"
            or not rungs
            or rungs[-1].get("latency_ms") is None
        ):
            return trial
        return create_trial(
            state=TrialState.COMPLETE,
            values=[self._foretold(trial.number, rungs[-1]), float(rungs[-1]["latency_ms"])],
            params=trial.params,
            distributions=trial.distributions,
            system_attrs=trial.system_attrs,
            user_attrs={"rungs": rungs, "foretold": True},
        )


class ImputingSampler(BaseSampler):
    """`sampler`, for one trial, shown the trials of `foresight` in place of the study's own.

    It proposes when the first parameter is asked for, not when the trial is: that is done where
    processes wait for each other.
    """

    def __init__(self, sampler: BaseSampler, foresight: Imputation) -> None:
        self._sampler, self._foresight = sampler, foresight
        self._proposed: dict[str, Any] | None = None

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if self._proposed is None:
            self._foresight.update(study, study_lock=trial.number)
            space = self._sampler.infer_relative_search_space(self._foresight.shown, trial)
            self._proposed = self._sampler.sample_relative(self._foresight.shown, trial, space)
        if param_name in self._proposed:
            return self._proposed[param_name]
        return self._sampler.sample_independent(
            self._foresight.shown, trial, param_name, param_distribution
        )

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()
