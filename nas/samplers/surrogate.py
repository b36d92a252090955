"""A sampler that knows what is free: the structure of any network, from which latency follows
closely and PSNR in part.

It draws random networks and mutants of the best, foretells latency and final PSNR of each by a
Gaussian process on some numbers of its structure (nas/samplers/features.py), and proposes the one
that promises the most hypervolume for its cost. What stopped trials showed counts without being
taken for an end: there is one process for the PSNR at the first rung, one for every later rung
given the one before it, and so on to the end (Kennedy and O'Hagan, "Predicting the output from a
complex computer code when fast approximations are available", Biometrika 2000), so that all trials
teach the first, and only whole trainings the last.

The expected gain in hypervolume is in closed form, PSNR and latency being independent (Emmerich,
Deutz and Klinkenberg, "Hypervolume-based expected improvement", CEC 2011).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtr

from nas.samplers.features import numbers
from nas.samplers.registry import distributions
from nas.study.pareto import REFERENCE_RATIO, Reference, pareto_front
from nas.study.ranking import RungEntry, needed_psnr_db
from nas.study.schema import END
from space import DesignSpace

Array = NDArray[np.float64]
# So many networks are spread over the work of the smaller half of random ones, before a model is
# asked.
STARTUP = 6
RANDOM, MUTANTS, PARENTS = 100, 150, 20
# The model looks at so many trials, the last ones: a proposal's time does not grow with a long
# study.
MOST_ROWS = 500
# Settings of all processes: length scale (in standard deviations of all numbers together: 2),
# noise and slope of the variance.
LENGTH, NOISE, PRIOR_WEIGHT, SLOPE_VARIANCE = 4.0, 0.1, 4.0, 0.05
# Of a training's time, an octave of latency is so many octaves (0.68 over the benchmark's table).
COST_OCTAVES = 2 / 3
# With a limit the user has said what speed is needed. Then only what is at most so far (dB) below
# the best picture within it counts: up to half of a search had gone to networks that were ever
# faster and 3 dB poorer, each of which adds area at the front's fast end. And that a trial takes
# so many trainings of MO (of 900 steps, on a CPU) beside its own training keeps them from looking
# cheap.
FOCUS_DB, FIXED_COST = 1.0, 0.4


class Process:
    """A Gaussian process with a linear part (Matérn 5/2 besides) of `z` at the points `x`, given
    what was seen `before` of each.

    The slope on `before` is drawn towards `slope`, and the spread, of which there is little to be
    learnt from few points, towards `spread`, each in the units of `z`.
    """

    def __init__(
        self, x: Array, z: Array, *, spread: float, before: Array | None = None, slope: float = 0.0
    ) -> None:
        self._x, self._slope = x, slope
        self._centre = 0.0 if before is None else float(before.mean())
        self._before = np.zeros(len(x)) if before is None else before - self._centre
        rest = z - slope * self._before
        self._mean = float(rest.mean())
        kernel = (
            _kernel(x, x)
            + SLOPE_VARIANCE * np.outer(self._before, self._before)
            + NOISE * np.eye(len(x))
        )
        self._inverse = np.linalg.inv(kernel)
        self._alpha = self._inverse @ (rest - self._mean)
        fit = float((rest - self._mean) @ self._alpha)
        self._variance = (fit + PRIOR_WEIGHT * spread**2 / (1 + NOISE)) / (len(x) + PRIOR_WEIGHT)

    def predict(
        self, x: Array, before: Array | None = None, variance: Array | float = 0.0
    ) -> tuple[Array, Array]:
        """Means and variances (of one measured network, its own luck included) at `x`, where
        `before` is known to `variance`.
        """
        seen = np.zeros(len(x)) if before is None else before - self._centre
        kernel = _kernel(x, self._x) + SLOPE_VARIANCE * np.outer(seen, self._before)
        mean = self._mean + self._slope * seen + kernel @ self._alpha
        own = (
            1
            + (x**2).mean(axis=1)
            + SLOPE_VARIANCE * seen**2
            - np.einsum("ij,ij->i", kernel @ self._inverse, kernel)
        )
        slope = self._slope + SLOPE_VARIANCE * float(self._before @ self._alpha)
        return mean, slope**2 * variance + self._variance * (np.maximum(own, 1e-6) + NOISE)


def _kernel(a: Array, b: Array) -> Array:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    far = math.sqrt(5) / LENGTH * np.sqrt(np.maximum(squared, 0.0))
    return np.asarray((1 + far + far**2 / 3) * np.exp(-far) + a @ b.T / a.shape[1])


def predict_rungs(
    x: Array, seen: Sequence[Mapping[float, float]], at: Array
) -> dict[float, tuple[Array, Array]]:
    """Means and standard deviations (dB) of the PSNR at the points `at`, by step in rising order,
    with the end at infinity; `seen` holds, of each point of `x`, the PSNR by step. The end is
    there only if any was seen.
    """
    steps = sorted({step for one in seen for step in one})
    longest = max((step for step in steps if step < math.inf), default=1.0) * 3
    found: dict[float, tuple[Array, Array]] = {}
    last: float | None = None
    for step in steps:
        rows = [k for k, one in enumerate(seen) if step in one and (last is None or last in one)]
        if not rows:
            continue
        z = np.array([seen[k][step] for k in rows])
        if last is None:
            mean, variance = Process(x[rows], z, spread=1.5).predict(at)
        else:
            # Over the benchmark's table differences of PSNR shrink about with the third root of
            # the steps.
            slope = (last / min(step, longest)) ** (1 / 3)
            process = Process(
                x[rows], z, spread=0.5, before=np.array([seen[k][last] for k in rows]), slope=slope
            )
            mean, variance = process.predict(at, found[last][0], found[last][1] ** 2)
        found[step] = mean, np.sqrt(variance)
        last = step
    return found


def expected_gain(
    front: Sequence[tuple[float, float]], db: tuple[Array, Array], octaves: tuple[Array, Array]
) -> Array:
    """By how much the hypervolume (dB x octaves, from 0) of `front`, pairs of gains, is expected
    to rise with one network more, for each of several: `db` and `octaves` are means and standard
    deviations of its gains.
    """
    heights, ends = [0.0], [0.0]
    best = 0.0
    for gain_db, gain_octaves in sorted(
        (point for point in front if min(point) > 0), key=lambda point: (-point[1], -point[0])
    ):
        if gain_db > best:
            best = gain_db
            heights.append(gain_db)
            ends.append(gain_octaves)
    # From 0 to the slowest point's octaves the front is as high as that, ..., beyond the fastest
    # it is 0 high.
    heights, ends = heights[::-1], [0.0, *ends[:0:-1]]
    reach = _excess(*octaves, np.array(ends))
    widths = reach - np.hstack([reach[:, 1:], np.zeros((len(reach), 1))])
    return np.asarray((widths * _excess(*db, np.array(heights))).sum(axis=1))


def _excess(mean: Array, deviation: Array, over: Array) -> Array:
    """The expected excess of each normal variable (rows) over each number (columns)."""
    z = (mean[:, None] - over) / deviation[:, None]
    return np.asarray(
        deviation[:, None] * (z * ndtr(z) + np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))
    )


class StructureSampler(BaseSampler):
    """Proposes a network for one trial; the same for the same seed and study.

    `is_known` says of a digest that it need not be proposed, `reference` from where the study's
    hypervolume counts (None while MO is not measured: then proposals are spread over works). Above
    `limit_ms` a network is worth nothing, and within it the hypervolume counts from `FOCUS_DB`
    below the best there. Trials may have the attributes `rungs`, `foretold` (their PSNR was not
    measured) and `pending` (nothing is known of them yet): see nas/samplers/imputation.py.
    Networks that diverge or find no memory teach it nothing, but are not proposed again. Where the
    study `stops` trials early, a network counts only as far as it is likely to be let through:
    what the rule stops for sure would be proposed for ever else, since nobody would ever see its
    end.
    """

    def __init__(
        self,
        space: DesignSpace,
        *,
        seed: int,
        reference: Callable[[], Reference | None],
        is_known: Callable[[str], bool],
        limit_ms: float | None = None,
        stops: bool = True,
    ) -> None:
        self._space, self._reference, self._is_known, self._limit_ms = (
            space,
            reference,
            is_known,
            limit_ms,
        )
        self._stops = stops
        self._seed = seed

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return distributions(self._space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        raise AssertionError("all genes are proposed at once")

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        chance = random.Random(f"{self._seed}/{trial.number}")
        shown = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        shown = [one for one in shown if len(one.params) == len(self._space.genes)][-MOST_ROWS:]
        judged = [one for one in shown if not one.user_attrs.get("pending")]
        # Of networks over the limit only latency is known.
        timed = [
            one
            for one in study.get_trials(deepcopy=False, states=[TrialState.PRUNED])
            if "ratio_to_mo" in one.user_attrs
            and one.user_attrs.get("kind") == "over_limit"
            and one.params
        ]
        reference = self._reference()
        if reference is None or len(judged) < STARTUP:
            return self._spread(chance, len(shown) + len(timed), timed)
        candidates = self._candidates(chance, judged)
        if not candidates:
            return self._space.sample(chance)
        pending = [one for one in shown if one.user_attrs.get("pending")]
        values = self._values(candidates, judged, pending, timed[-MOST_ROWS:], reference)
        return candidates[int(np.argmax(values))]

    def _spread(
        self, chance: random.Random, count: int, over: Sequence[FrozenTrial]
    ) -> dict[str, Any]:
        """A network whose work is the next of some that are spread from the smallest to the middle
        of random ones', or to the least work that was found to be `over` the limit.
        """
        drawn = [self._space.sample(chance) for _ in range(2 * RANDOM)]
        drawn.sort(key=self._work)
        least = min((self._work(one.params) for one in over), default=math.inf)
        highest = min(RANDOM, sum(self._work(params) < least for params in drawn))
        return drawn[round(highest * (count % STARTUP) / (STARTUP - 1))]

    def _work(self, params: Mapping[str, Any]) -> float:
        return numbers(self._space.decode(params))[0]

    def _candidates(
        self, chance: random.Random, judged: Sequence[FrozenTrial]
    ) -> list[dict[str, Any]]:
        drawn: list[dict[str, Any]] = [self._space.sample(chance) for _ in range(RANDOM)]
        parents = _best([(one.values[0], one.values[1]) for one in judged], PARENTS)
        for _ in range(MUTANTS):
            mutant = dict(judged[chance.choice(parents)].params)
            for gene in chance.sample(self._space.genes, chance.choice((1, 2, 3, 5))):
                mutant[gene.name] = chance.choice(gene.choices)
            drawn.append(mutant)
        return [
            params for params in drawn if not self._is_known(self._space.decode(params).digest)
        ]

    def _values(
        self,
        candidates: Sequence[dict[str, Any]],
        judged: Sequence[FrozenTrial],
        pending: Sequence[FrozenTrial],
        timed: Sequence[FrozenTrial],
        reference: Reference,
    ) -> Array:
        """What each of the candidates is worth: expected gain of hypervolume, for its cost. Of
        `timed` only latency is known.
        """
        params = [*(one.params for one in (*judged, *timed, *pending)), *candidates]
        raw = np.array([_numbers(self._space, tuple(one.items())) for one in params])
        n, known = len(judged), len(judged) + len(timed)
        deviation = raw[:n].std(axis=0)
        x = (
            (raw - raw[:n].mean(axis=0))
            / np.where(deviation > 1e-6, deviation, 1.0)
            * 2
            / math.sqrt(raw.shape[1])
        )
        reference = self._focused(reference, judged)
        gains = [reference.gains(one.values[0], one.values[1]) for one in judged]
        latencies = [octaves for _, octaves in gains] + [
            math.log2(REFERENCE_RATIO / one.user_attrs["ratio_to_mo"]) for one in timed
        ]
        fast, variance = Process(x[:known], np.array(latencies), spread=1.5).predict(x[known:])
        octaves = fast, np.sqrt(variance)
        foretold = predict_rungs(x[:n], [_seen(one) for one in judged], x[known:])
        end, deviation = foretold[max(foretold)]
        db = end - reference.psnr_db, deviation
        front = [
            gain
            for gain, one in zip(gains, judged, strict=True)
            if not one.user_attrs.get("foretold")
        ]
        # Of those that run and have shown nothing the foretold is believed, so that no two look at
        # the same place.
        m = len(pending)
        front += [(float(a), float(b)) for a, b in zip(db[0][:m], fast[:m], strict=True)]
        db, octaves = (db[0][m:], db[1][m:]), (octaves[0][m:], octaves[1][m:])
        training = 2 ** (
            COST_OCTAVES * (math.log2(REFERENCE_RATIO) - octaves[0])
        )  # in trainings of MO
        worth = expected_gain(front, db, octaves) / (
            training + (FIXED_COST if self._limit_ms is not None else 0.0)
        )
        if self._stops:
            standing = [(one, gain) for one, (_, gain) in zip(judged, gains, strict=True)]
            worth = worth * _let_through(
                {step: (a[m:], b[m:]) for step, (a, b) in foretold.items()}, octaves[0], standing
            )
        if self._limit_ms is not None:
            needed = math.log2(reference.latency_ms / self._limit_ms)
            worth = worth * ndtr((octaves[0] - needed) / octaves[1])
        return np.asarray(worth)

    def _focused(self, reference: Reference, judged: Sequence[FrozenTrial]) -> Reference:
        """From where the hypervolume counts for proposals: with a limit, not far below the best
        that is known within it.
        """
        limit_ms = self._limit_ms
        measured = [one.values for one in judged if not one.user_attrs.get("foretold")]
        within = (
            []
            if limit_ms is None
            else [psnr_db for psnr_db, latency_ms in measured if latency_ms <= limit_ms]
        )
        return replace(
            reference, psnr_db=max(reference.psnr_db, max(within, default=-math.inf) - FOCUS_DB)
        )


@lru_cache(maxsize=8192)
def _numbers(space: DesignSpace, params: tuple[tuple[str, Any], ...]) -> list[float]:
    return numbers(space.decode(dict(params)))


def _let_through(
    foretold: Mapping[float, tuple[Array, Array]],
    octaves: Array,
    standing: Sequence[tuple[FrozenTrial, float]],
) -> Array:
    """How likely networks with the `foretold` PSNR are to pass all rungs, as those trials stand
    there, with their octaves.
    """
    likely = np.ones(len(octaves))
    for step, (mean, deviation) in foretold.items():
        there = (
            [(_seen(one).get(step), gain, one.number) for one, gain in standing]
            if step < math.inf
            else []
        )
        reached = [
            RungEntry(psnr_db=psnr_db, latency_ms=2.0**-gain, digest=str(number))
            for psnr_db, gain, number in there
            if psnr_db is not None
        ]
        if reached:
            needed = np.array(
                needed_psnr_db(reached, [float(latency) for latency in 2.0**-octaves])
            )
            likely = likely * ndtr((mean - needed) / deviation)
    return likely


def _seen(trial: FrozenTrial) -> dict[float, float]:
    """PSNR by step, and the end's, where it was measured, at infinity."""
    found = {
        float(rung["step"]): float(rung["psnr_db"])
        for rung in trial.user_attrs.get("rungs") or ()
        if rung.get("psnr_db") is not None and rung.get("decision") != END
    }
    return (
        found if trial.user_attrs.get("foretold") else found | {math.inf: float(trial.values[0])}
    )


def _best(points: Sequence[tuple[float, float]], count: int) -> list[int]:
    """Indices of `count` or a few more of the (PSNR, latency) `points`, front by front."""
    left, found = list(range(len(points))), list[int]()
    while left and len(found) < count:
        front = {left[k] for k in pareto_front([points[k] for k in left])}
        found += sorted(front)
        left = [k for k in left if k not in front]
    return found
