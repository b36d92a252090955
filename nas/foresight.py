"""What the sampler learns from stopped trials: the PSNR that they would have reached, foretold from their last rung.

Optuna counts a trial without values as bad, or leaves it out. Neither is true of a network that was stopped because two
thirds of the others were better: it is a measured network whose end nobody waited for. So the sampler is shown a study of its
own, in memory, where a stopped trial is complete, with its latency and a foretold PSNR. The real study keeps what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

# Below so many networks trained to the end, only their mean gain from the rung is used.
FEWEST_FOR_A_LINE = 5
# The line's slope is drawn towards 1 (all gain alike) with the weight of networks that spread so far, dB².
PRIOR_DB2 = 1.0
STEEPEST = 1.5
NAME = "shown"


def foretell(pairs: Sequence[tuple[float, float]], psnr_db: float) -> float:
    """The final PSNR (dB) of a network with `psnr_db` at a rung; `pairs` are (PSNR there, final PSNR) of whole trainings.

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


class Foresight:
    """The study as the sampler is shown it, kept up with the real one; it lives as long as a search."""

    def __init__(self, directions: Sequence[Any]) -> None:
        self._storage = optuna.storages.InMemoryStorage()
        self.shown = optuna.create_study(study_name=NAME, storage=self._storage, directions=list(directions))
        self._seen: set[int] = set()
        self._pairs: dict[int, list[tuple[int, float, float]]] = {}

    def update(self, study: optuna.Study) -> None:
        """Takes in the trials that have ended since. What is foretold of a trial depends on trials of lower numbers only, so
        that a search which was stopped and goes on proposes what an unbroken one would have."""
        for trial in study.get_trials(deepcopy=False):
            if trial.number in self._seen or not trial.state.is_finished():
                continue
            self._seen.add(trial.number)
            if trial.state == TrialState.COMPLETE:
                self._remember(trial)
                self.shown.add_trial(trial)
            elif trial.state == TrialState.PRUNED:
                self.shown.add_trial(self._completed(trial))
        # A study keeps the trials that it has once looked up until it is asked for one, which this one never is.
        self.shown = optuna.load_study(study_name=NAME, storage=self._storage)

    def _remember(self, trial: FrozenTrial) -> None:
        rungs = trial.user_attrs.get("rungs") or []
        for rung in rungs[:-1]:
            pair = (trial.number, float(rung["psnr_db"]), float(trial.values[0]))
            self._pairs.setdefault(int(rung["step"]), []).append(pair)

    def _completed(self, trial: FrozenTrial) -> FrozenTrial:
        """A stopped trial with a foretold PSNR; any other (over a limit) as it is."""
        rungs = trial.user_attrs.get("rungs") or []
        if trial.user_attrs.get("kind") != "stopped" or not rungs or rungs[-1].get("latency_ms") is None:
            return trial
        last = rungs[-1]
        pairs = [(at, final) for number, at, final in self._pairs.get(int(last["step"]), []) if number < trial.number]
        return create_trial(
            state=TrialState.COMPLETE, values=[foretell(pairs, float(last["psnr_db"])), float(last["latency_ms"])],
            params=trial.params, distributions=trial.distributions, system_attrs=trial.system_attrs,
        )  # fmt: skip


class ForesightedSampler(BaseSampler):
    """`sampler`, shown the trials of `foresight` in place of the study's own."""

    def __init__(self, sampler: BaseSampler, foresight: Foresight) -> None:
        self._sampler, self._foresight = sampler, foresight

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._foresight.update(study)
        return self._sampler.infer_relative_search_space(self._foresight.shown, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(self._foresight.shown, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._sampler.sample_independent(self._foresight.shown, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()

