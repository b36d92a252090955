"""Proposals of networks that the study does not know yet.

Half of the genes of a small network say nothing, so that a model which has learnt where the
front's fast end lies proposes the very same network over and over. A known proposal is drawn anew,
and where the model insists, the network beside it is taken: one gene is changed at random, then
two, and so on.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from space import DesignSpace

# So often the model is asked again, and so many neighbours are tried with one changed gene, with
# two, ...
DRAWS = 3
NEIGHBOURS = 12


class DeduplicatingSampler(BaseSampler):
    """`sampler`, whose proposals for all genes at once are of networks for which `is_known` says
    False of their digest.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        space: DesignSpace,
        is_known: Callable[[str], bool],
        *,
        seed: int,
    ) -> None:
        self._sampler, self._space, self._is_known = sampler, space, is_known
        self._chance = random.Random(seed)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        proposed: dict[str, Any] = {}
        for _ in range(DRAWS):
            proposed = self._sampler.sample_relative(study, trial, search_space)
            if not self._is_known_network(proposed):
                return proposed
        genes = [gene for gene in self._space.genes if gene.name in search_space]
        for changed in range(1, len(genes) + 1):
            for _ in range(NEIGHBOURS):
                others = {
                    gene.name: self._chance.choice(gene.choices)
                    for gene in self._chance.sample(genes, changed)
                }
                if not self._is_known_network({**proposed, **others}):
                    return {**proposed, **others}
        return proposed  # the space is exhausted

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        self._sampler.reseed_rng()

    def _is_known_network(self, proposed: dict[str, Any]) -> bool:
        whole = len(proposed) == len(
            self._space.genes
        )  # else some genes are yet to be drawn one by one
        return whole and self._is_known(self._space.decode(proposed).digest)
