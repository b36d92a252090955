"""The sampler that knows what is free: the structure of any network.

It takes random networks and mutants of the best, predicts latency and PSNR of each by Gaussian
processes on some features of its structure (nas/samplers/features.py), and proposes the one that
promises the most hypervolume for its cost.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from scipy.special import ndtr

from nas.samplers.acquisition import expected_gain
from nas.samplers.features import numbers
from nas.samplers.gaussian_process import GaussianProcess, predict_rungs
from nas.samplers.imputation import Observation, Observations, observe
from nas.study.pareto import REFERENCE_RATIO, Reference, pareto_front
from nas.study.ranking import RungEntry, needed_psnr_db
from space import DesignSpace

Array = NDArray[np.float64]
Params = dict[str, Any]
# Before a model is fitted, so many networks are spread over the work of random ones' smaller half.
STARTUP = 6
RANDOM, MUTANTS, PARENTS = 100, 150, 20
# The model is fitted to the last so many trials: a long study makes no proposal slow.
MOST_ROWS = 500
# Of a training's time, an octave of latency is so many octaves (0.68 over the benchmark's table).
COST_OCTAVES = 2 / 3
# A limit says what speed is needed. Then only what is at most so far (dB) below the best within it
# counts: up to half of a search had gone to networks ever faster and 3 dB poorer, each of which
# adds area at the front's fast end. The fixed cost of a trial beside its training, in trainings of
# MO (900 steps on a CPU), keeps them from looking cheap.
FOCUS_DB, FIXED_COST = 1.0, 0.4


class StructureSampler(BaseSampler):
    """Proposes networks that the study does not know; the same for the same seed, study and trial.

    The hypervolume counts from `reference` (None while MO is not measured: then proposals are
    spread over works). Above `limit_ms` a network is worth nothing, and within it the hypervolume
    counts from `FOCUS_DB` below the best there. Networks that diverge or find no memory teach it
    nothing. Where the study `stops` trials early, a network counts only as far as it is likely to
    pass the rungs: what the rule stops for sure would be proposed for ever else, since its end is
    never measured.
    """

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        reference: Reference | None,
        limit_ms: float | None = None,
        stops: bool = True,
    ) -> None:
        self._space, self._seed, self._reference = space, seed, reference
        self._limit_ms, self._stops = limit_ms, stops
        self._proposals: dict[int, Params] = {}

    # Optuna calls these two when a trial is created, for which processes wait for each other; the
    # proposal is made when the first parameter is needed.
    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        if trial.number not in self._proposals:
            self._proposals = {trial.number: self._propose(study, trial.number)}
        return self._proposals[trial.number][param_name]

    def _propose(self, study: optuna.Study, number: int) -> Params:
        chance = random.Random(f"{self._seed}/{number}")
        trials = study.get_trials(deepcopy=False)
        known = observe(trials, number, genes=len(self._space.genes), most=MOST_ROWS)
        if self._reference is None or len(known.scored) < STARTUP:
            return self._spread(chance, known)
        candidates = self._candidates(chance, known)
        if not candidates:
            return self._space.sample(chance)
        return candidates[int(np.argmax(self._values(candidates, known, self._reference)))]

    def _spread(self, chance: random.Random, known: Observations) -> Params:
        """A network of the next of `STARTUP` works, from the least to the median of random ones',
        or to the least that was over the limit.
        """
        choices: list[Params] = [self._space.sample(chance) for _ in range(2 * RANDOM)]
        choices.sort(key=self._work)
        least = min((self._work(params) for params, _ in known.over_limit), default=math.inf)
        highest = min(RANDOM, sum(self._work(params) < least for params in choices))
        count = len(known.scored) + len(known.pending) + len(known.over_limit)
        return choices[round(highest * (count % STARTUP) / (STARTUP - 1))]

    def _features(self, params: Mapping[str, Any]) -> list[float]:
        return _features(self._space, tuple(params.items()))

    def _work(self, params: Mapping[str, Any]) -> float:
        return self._features(params)[0]

    def _candidates(self, chance: random.Random, known: Observations) -> list[Params]:
        candidates: list[Params] = [self._space.sample(chance) for _ in range(RANDOM)]
        parents = _best([(one.psnr_db, one.latency_ms) for one in known.scored], PARENTS)
        for _ in range(MUTANTS):
            mutant = dict(known.scored[chance.choice(parents)].params)
            for gene in chance.sample(self._space.genes, chance.choice((1, 2, 3, 5))):
                mutant[gene.name] = chance.choice(gene.choices)
            candidates.append(mutant)
        decode = self._space.decode
        return [one for one in candidates if decode(one).digest not in known.digests]

    def _values(
        self, candidates: Sequence[Params], known: Observations, reference: Reference
    ) -> Array:
        """What each candidate is worth: the expected gain of hypervolume, for its cost."""
        scored, pending, over_limit = known.scored, known.pending, known.over_limit[-MOST_ROWS:]
        measured = [*(one.params for one in scored), *(params for params, _ in over_limit)]
        raw = np.array([self._features(one) for one in (*measured, *pending, *candidates)])
        n = len(scored)
        deviation = raw[:n].std(axis=0)
        scale = np.where(deviation > 1e-6, deviation, 1.0)
        x = (raw - raw[:n].mean(axis=0)) / scale * 2 / math.sqrt(raw.shape[1])
        at = x[len(measured) :]
        reference = self._focused(reference, scored)
        gains = [reference.gains(one.psnr_db, one.latency_ms) for one in scored]
        latencies = [octaves for _, octaves in gains]
        latencies += [math.log2(REFERENCE_RATIO / ratio) for _, ratio in over_limit]
        process = GaussianProcess(x[: len(measured)], np.array(latencies), spread=1.5)
        fast, variance = process.predict(at)
        octaves = fast, np.sqrt(variance)
        rungs = predict_rungs(x[:n], [one.rungs for one in scored], at)
        end, deviation = rungs[max(rungs)]
        db = end - reference.psnr_db, deviation
        front = [gain for gain, one in zip(gains, scored, strict=True) if one.is_measured]
        # The predictions for running networks count as measured, so that no two workers explore
        # the same place.
        m = len(pending)
        front += [(float(a), float(b)) for a, b in zip(db[0][:m], fast[:m], strict=True)]
        db, octaves = (db[0][m:], db[1][m:]), (octaves[0][m:], octaves[1][m:])
        # In trainings of MO.
        cost = 2 ** (COST_OCTAVES * (math.log2(REFERENCE_RATIO) - octaves[0]))
        cost = cost + (FIXED_COST if self._limit_ms is not None else 0.0)
        worth = expected_gain(front, db, octaves) / cost
        if self._stops:
            later = {step: (a[m:], b[m:]) for step, (a, b) in rungs.items()}
            entries = [(one, gain) for one, (_, gain) in zip(scored, gains, strict=True)]
            worth = worth * _pass_probability(later, octaves[0], entries)
        if self._limit_ms is not None:
            needed = math.log2(reference.latency_ms / self._limit_ms)
            worth = worth * ndtr((octaves[0] - needed) / octaves[1])
        return np.asarray(worth)

    def _focused(self, reference: Reference, scored: Sequence[Observation]) -> Reference:
        """Where the hypervolume counts from: with a limit, FOCUS_DB below the best within it."""
        if (limit := self._limit_ms) is None:
            return reference
        within = (one.psnr_db for one in scored if one.is_measured and one.latency_ms <= limit)
        best = max(within, default=-math.inf)
        return replace(reference, psnr_db=max(reference.psnr_db, best - FOCUS_DB))


@lru_cache(maxsize=8192)
def _features(space: DesignSpace, params: tuple[tuple[str, Any], ...]) -> list[float]:
    return numbers(space.decode(dict(params)))


def _pass_probability(
    predicted: Mapping[float, tuple[Array, Array]],
    octaves: Array,
    scored: Sequence[tuple[Observation, float]],
) -> Array:
    """How likely networks of these `octaves` are to pass all rungs, given those of `scored` there.

    `predicted` holds their PSNR's means and standard deviations (dB) by step.
    """
    likely = np.ones(len(octaves))
    for step, (mean, deviation) in predicted.items():
        entries = [
            RungEntry(psnr_db=one.rungs[step], latency_ms=2.0**-gain, digest=str(one.number))
            for one, gain in scored
            if step < math.inf and step in one.rungs
        ]
        if entries:
            latencies = [float(latency) for latency in 2.0**-octaves]
            needed = np.array(needed_psnr_db(entries, latencies))
            likely = likely * ndtr((mean - needed) / deviation)
    return likely


def _best(points: Sequence[tuple[float, float]], count: int) -> list[int]:
    """Indices of `count` or a few more of the (PSNR, latency) `points`, front by front."""
    rest, chosen = list(range(len(points))), list[int]()
    while rest and len(chosen) < count:
        front = {rest[k] for k in pareto_front([points[k] for k in rest])}
        chosen += sorted(front)
        rest = [k for k in rest if k not in front]
    return chosen
