"""All samplers by name. A new one is an entry of `SAMPLERS`, and needs nothing elsewhere.

A sampler is made anew for every trial, seeded by the study's seed and the trial's number. Its
proposals then depend on the study alone: not on the process, nor on how often the search was
stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from nas.samplers.surrogate import StructureSampler
from nas.study.config import StudyConfig
from nas.study.pareto import Reference
from space import DesignSpace, InputError
from space.errors import brief

AUTO = "auto"
# The budget, in trials, up to which `auto` fits a model.
MODEL_UP_TO = 3000


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a sampler is made for: trial `number` of a study."""

    config: StudyConfig
    space: DesignSpace
    number: int
    reference: Reference | None
    """The study's reference point; None before MO's latency is known."""

    @property
    def seed(self) -> int:
        """A seed of the trial's own."""
        digest = hashlib.sha256(f"{self.config.seed}/{self.number}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    @property
    def startup_trials(self) -> int:
        """Random trials before a model is used: a third of a small budget."""
        return max(4, min(10, self.config.trials // 3))


def _structure(request: Request) -> BaseSampler:
    return StructureSampler(
        request.space,
        seed=request.config.seed,
        reference=request.reference,
        limit_ms=request.config.latency_limit_ms,
        stops=request.config.stopping,
    )


def _tpe(request: Request) -> BaseSampler:
    startup = request.startup_trials
    return TPESampler(seed=request.seed, multivariate=True, n_startup_trials=startup)


def _nsga2(request: Request) -> BaseSampler:
    population = max(8, min(50, request.config.trials // 10))
    return NSGAIISampler(seed=request.seed, population_size=population)


SAMPLERS: dict[str, Callable[[Request], BaseSampler]] = {
    "structure": _structure,
    "random": lambda request: RandomSampler(seed=request.seed),
    "tpe": _tpe,
    "nsga2": _nsga2,
    "gp": lambda request: GPSampler(seed=request.seed, n_startup_trials=request.startup_trials),
}


def choose_sampler(name: str, trials: int) -> str:
    """The sampler that `name` means for a budget of `trials`: itself, or for "auto" one by budget.

    In the replay of tests/benchmarks/search (30 seeds, all with stopping) "structure" needs 0.08
    of random search's training, NSGA-II 0.19. A proposal of "structure" takes some 40 ms of one
    core, one of NSGA-II 1 to 3, which has many generations beyond MODEL_UP_TO trials.

    Raises InputError where there is no such sampler.
    """
    if name == AUTO:
        return "structure" if trials <= MODEL_UP_TO else "nsga2"
    if name not in SAMPLERS:
        known = ", ".join((AUTO, *SAMPLERS))
        raise InputError(f"sampler must be one of {known}, but got {brief(name)}; change it")
    return name


def usable_sampler(name: str, study: optuna.Study) -> str:
    """`name`, or "tpe" for a "gp" (Optuna's) that can't read the study: it needs the same
    constraints on all complete trials, and a latency limit may have come or gone.
    """
    if name != "gp":
        return name
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    return "gp" if len({bool(trial.constraints) for trial in complete}) <= 1 else "tpe"


def make_sampler(name: str, request: Request) -> BaseSampler:
    """The sampler `name` (none of "auto"), seeded for the trial of `request`."""
    return SAMPLERS[name](request)
