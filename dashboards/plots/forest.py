"""How much of a figure's variance the genes explain, and how much of it goes with each of them.

A forest of random trees learns the figure from the genes; each network is judged only by trees
that never saw it (out of bag). A gene's share is half of the error that comes in when it is
shuffled: where genes are independent, that is the variance which it makes, alone and together with
others (Sobol's total effect). It is shuffled only among the networks on which it acts, so that no
network comes up that couldn't be: the growth of a branch that isn't there stays out of it. The
interval is a bootstrap over networks: each of its forests learns and is judged on another draw of
them, never on the same network twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboards.plots.genes import Value, levels

TREES = 50
# The forest of a draw is smaller the more networks there are: time, and what varies between draws
# is the networks by then.
DRAWS, TREES_PER_DRAW = 12, (10, 50)
IN_BAG = 0.632  # the share of networks that a tree learns from, as in a bootstrap sample
LEAF = 3  # networks at least in each leaf

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Explained:
    """`r2`: out-of-bag share of the variance that all genes explain (may be below 0); of each
    gene: its share of the variance, and the ends of its 95 % interval.
    """

    r2: float
    share: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]


def explain(
    rows: Sequence[dict[str, Value]], genes: Sequence[str], figure: Sequence[float]
) -> Explained:
    """What `genes` explain of `figure`, one value a row; the same study gives the same answer.
    Needs scikit-learn.
    """
    features, acts = _features(rows, genes)
    values = np.asarray(figure, dtype=np.float64)
    chance = np.random.default_rng(0)
    r2, share = _forest(features, acts, values, np.ones(len(values)), TREES, chance)
    fewest, most = TREES_PER_DRAW
    trees = min(most, max(fewest, 20_000 // len(values)))
    draws = []
    for _ in range(DRAWS):
        counts = np.bincount(
            chance.integers(0, len(values), len(values)), minlength=len(values)
        ).astype(np.float64)
        draws.append(_forest(features, acts, values, counts, trees, chance)[1])
    reach = 1.96 * np.std(draws, axis=0, ddof=1)
    return Explained(
        r2=r2,
        share=_named(genes, share),
        low=_named(genes, share - reach),
        high=_named(genes, share + reach),
    )


def _forest(
    features: NDArray[np.float32],
    acts: NDArray[np.bool_],
    values: Floats,
    counts: Floats,
    trees: int,
    chance: np.random.Generator,
) -> tuple[float, Floats]:
    """(R², share by gene) of one forest on the networks drawn, each weighted by how often it was."""
    from sklearn.tree import ExtraTreeRegressor  # a second to load, and an extra

    drawn = np.flatnonzero(counts)
    genes = features.shape[1]
    shuffled = np.repeat(features[None], genes, axis=0)
    for gene in range(genes):
        where = drawn[acts[drawn, gene]]
        shuffled[gene, where, gene] = features[chance.permutation(where), gene]
    told, told_shuffled, judged = (
        np.zeros(len(values)),
        np.zeros((genes, len(values))),
        np.zeros(len(values)),
    )
    for _ in range(trees):
        learns = chance.random(len(drawn)) < IN_BAG
        inside, outside = drawn[learns], drawn[~learns]
        if not (len(inside) and len(outside)):
            continue
        tree = ExtraTreeRegressor(min_samples_leaf=LEAF, random_state=int(chance.integers(2**31)))
        tree.fit(features[inside], values[inside], sample_weight=counts[inside])
        told[outside] += tree.predict(features[outside])
        told_shuffled[:, outside] += tree.predict(shuffled[:, outside].reshape(-1, genes)).reshape(
            genes, -1
        )
        judged[outside] += 1
    seen = judged > 0
    weights = counts[seen]
    mean = np.average(values[seen], weights=weights)
    variance = np.average((values[seen] - mean) ** 2, weights=weights)
    if not variance > 0:
        return 0.0, np.zeros(genes)
    error = np.average((told[seen] / judged[seen] - values[seen]) ** 2, weights=weights)
    errors = np.average(
        (told_shuffled[:, seen] / judged[seen] - values[seen]) ** 2, axis=1, weights=weights
    )
    return float(1 - error / variance), np.asarray((errors - error) / (2 * variance))


def _features(
    rows: Sequence[dict[str, Value]], genes: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The genes as numbers (the place of each choice among the gene's), and where they act.

    Where a gene doesn't act it gets the commonest choice: so it can't stand in for the gene that
    says whether it does.
    """
    columns, acting = [], []
    for gene in genes:
        places: dict[Any, int] = {choice: place for place, choice in enumerate(levels(rows, gene))}
        there = np.array([gene in row for row in rows])
        column = np.array([places.get(row.get(gene), -1) for row in rows])
        column[~there] = np.bincount(column[there]).argmax()
        columns.append(column)
        acting.append(there)
    return np.array(columns, dtype=np.float32).T.copy(), np.array(acting).T


def _named(genes: Sequence[str], values: Floats) -> dict[str, float]:
    return {gene: float(value) for gene, value in zip(genes, values, strict=True)}
