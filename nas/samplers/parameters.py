"""A genome's genes as the flat parameters of an Optuna trial."""

from __future__ import annotations

import random
from itertools import pairwise

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from space import DesignSpace, Genome


def distributions(space: DesignSpace) -> dict[str, BaseDistribution]:
    """The distribution of each gene: integers where its choices are evenly spaced, else a list."""
    by_gene: dict[str, BaseDistribution] = {}
    for gene in space.genes:
        choices: tuple[int | str, ...] = gene.choices
        steps = {int(b) - int(a) for a, b in pairwise(choices)} if gene.ordered else set()
        if len(steps) == 1:
            low, high = int(choices[0]), int(choices[-1])
            by_gene[gene.name] = IntDistribution(low, high, step=steps.pop())
        else:
            by_gene[gene.name] = CategoricalDistribution(choices)
    return by_gene


def suggest(trial: optuna.Trial, space: DesignSpace) -> dict[str, int | str]:
    """The trial's parameters, one for each gene, with the distributions of `distributions`."""
    params: dict[str, int | str] = {}
    for name, distribution in distributions(space).items():
        if isinstance(distribution, IntDistribution):
            low, high, step = distribution.low, distribution.high, distribution.step
            params[name] = trial.suggest_int(name, low, high, step=step)
        else:
            assert isinstance(distribution, CategoricalDistribution)
            value = trial.suggest_categorical(name, distribution.choices)
            assert isinstance(value, (int, str))
            params[name] = value
    return params


def random_genome(*, seed: int, number: int) -> Genome:
    """A genome whose genes are uniformly random; the same for the same two numbers."""
    space = DesignSpace()
    return space.decode(space.sample(random.Random(f"{seed}/{number}")))
