"""Who proposes the next genome, and how a genome's genes become an Optuna trial's flat parameters.

A sampler is made anew for every trial, seeded by the study's seed and the trial's number. Its
proposals then depend on the study alone: not on which process asks, nor on how often the search
was stopped.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from itertools import pairwise

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from nas.study.records import Row, finished
from space import DesignSpace, Genome

# The budget, in trials, up to which `auto` takes a model.
MODEL_UP_TO = 3000


def choose_sampler(name: str, trials: int) -> str:
    """The sampler that `name` means for a budget of `trials`: itself, or for "auto" by budget.

    By the replay of tests/benchmarks/search (30 seeds, all with stopping), the sampler that learns
    from structure (nas/samplers/surrogate.py) needs 0.08 of random search's training; multivariate
    TPE that is shown the foretold ends of stopped networks and proposes no known one 0.12, random
    search and NSGA-II 0.19. A proposal takes it some 40 ms of one core, TPE 40 to
    80. Beyond MODEL_UP_TO trials NSGA-II (1-3 ms) has many generations. A Gaussian process of
      Optuna's ("gp") took 20 to 80 s a proposal when the space had 49 genes, half of them words,
      after 20 trials on two busy cores.
    """
    if name != "auto":
        return name
    return "structure" if trials <= MODEL_UP_TO else "nsga2"


def make_sampler(name: str, *, seed: int, number: int, trials: int) -> BaseSampler:
    """Optuna's sampler `name` for trial `number` of a study of `trials` trials, seeded for it;
    "auto" is no such name, nor is "structure" (nas/samplers/surrogate.py).
    """
    own_seed = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4], "big")
    # So many trials are random before a model is asked; a third of a small budget, to leave the
    # model its share.
    startup = max(4, min(10, trials // 3))
    if name == "random":
        return RandomSampler(seed=own_seed)
    if name == "tpe":
        # The constant liar would write into the study that it is shown, which is no stored one
        # (nas/samplers/imputation.py).
        return TPESampler(
            seed=own_seed, multivariate=True, n_startup_trials=startup, constant_liar=False
        )
    if name == "nsga2":
        return NSGAIISampler(seed=own_seed, population_size=max(8, min(50, trials // 10)))
    if name == "gp":
        return GPSampler(seed=own_seed, n_startup_trials=startup)
    raise ValueError(f"sampler must be random, tpe, nsga2 or gp, but got {name!r}")


def random_genome(*, seed: int, number: int) -> Genome:
    """A genome drawn gene by gene; the same for the same two numbers."""
    space = DesignSpace()
    return space.decode(space.sample(random.Random(f"{seed}/{number}")))


def usable_sampler(name: str, study: optuna.Study, rows: Sequence[Row]) -> str:
    """`name`, or "tpe" where the Gaussian process can't read the study.

    Optuna's wants the same constraints on all finished trials: a latency limit that came or went
    breaks that.
    """
    if name != "gp" or not finished(rows):
        return name
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    return "gp" if len({bool(trial.constraints) for trial in done}) <= 1 else "tpe"


def distributions(space: DesignSpace) -> dict[str, BaseDistribution]:
    """Of each gene: whole numbers where they are evenly spaced, else one of a list."""
    found: dict[str, BaseDistribution] = {}
    for gene in space.genes:
        choices: tuple[int | str, ...] = gene.choices
        steps = {int(b) - int(a) for a, b in pairwise(choices)} if gene.ordered else set()
        if len(steps) == 1:
            found[gene.name] = IntDistribution(
                int(gene.choices[0]), int(gene.choices[-1]), step=steps.pop()
            )
        else:
            found[gene.name] = CategoricalDistribution(gene.choices)
    return found


def suggest(trial: optuna.Trial, space: DesignSpace) -> dict[str, int | str]:
    """The trial's parameters, one for each gene, as `distributions` says."""
    params: dict[str, int | str] = {}
    for name, distribution in distributions(space).items():
        if isinstance(distribution, IntDistribution):
            params[name] = trial.suggest_int(
                name, distribution.low, distribution.high, step=distribution.step
            )
        else:
            assert isinstance(distribution, CategoricalDistribution)
            value = trial.suggest_categorical(name, distribution.choices)
            assert isinstance(value, (int, str))
            params[name] = value
    return params
