"""How much of a figure's variance the genes explain, and how much of it goes with each of them.

A forest of random trees learns the figure from the genes; each network is predicted only by trees
that never saw it (out of bag). A gene's share is half of the error that shuffling it adds: where
genes are independent, that is the variance which it makes, alone and together with others (Sobol's
total effect). It is shuffled only among the networks on which it acts, so that no impossible
network comes up: the growth of a branch that isn't there stays out of it. The interval is a
bootstrap over networks: each of its forests learns from another draw of them and is scored on
those out of bag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboards.plots.genes import Value, choices_of

TREES = 50
# A draw's forest is smaller the more networks there are: to save time, and because the variance
# between draws then comes from the networks.
DRAWS, TREES_PER_DRAW = 12, (10, 50)
IN_BAG = 0.632  # the share of networks that a tree learns from, as in a bootstrap sample
LEAF = 3  # networks at least in each leaf

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Explained:
    """The variance that all genes explain (`r2`, out of bag), and each gene's share of it."""

    r2: float
    share: dict[str, float]
    low: dict[str, float]  # ends of the 95 % interval
    high: dict[str, float]


def explain(
    rows: Sequence[dict[str, Value]], genes: Sequence[str], figure: Sequence[float]
) -> Explained:
    """What `genes` explain of `figure`, one value a row; deterministic. Needs scikit-learn."""
    features, acts = _features(rows, genes)
    values = np.asarray(figure, dtype=np.float64)
    count, rng = len(values), np.random.default_rng(0)
    r2, share = _forest(features, acts, values, np.ones(count), TREES, rng)
    fewest, most = TREES_PER_DRAW
    trees = min(most, max(fewest, 20_000 // count))
    draws = []
    for _ in range(DRAWS):
        counts = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        draws.append(_forest(features, acts, values, counts, trees, rng)[1])
    reach = 1.96 * np.std(draws, axis=0, ddof=1)
    values_of = (share, share - reach, share + reach)
    return Explained(r2, *(dict(zip(genes, one.tolist(), strict=True)) for one in values_of))


def _forest(
    features: NDArray[np.float32],
    acts: NDArray[np.bool_],
    values: Floats,
    counts: Floats,
    trees: int,
    rng: np.random.Generator,
) -> tuple[float, Floats]:
    """(R², share by gene) of one forest; `counts` is how often each network was sampled."""
    from sklearn.tree import ExtraTreeRegressor  # a second to load, and an extra

    sampled = np.flatnonzero(counts)
    genes = features.shape[1]
    shuffled = np.repeat(features[None], genes, axis=0)
    for gene in range(genes):
        where = sampled[acts[sampled, gene]]
        shuffled[gene, where, gene] = features[rng.permutation(where), gene]
    # Sums over the trees that didn't see a network: predictions for it, the same with each gene
    # shuffled, and how many there are.
    sums, shuffled_sums = np.zeros(len(values)), np.zeros((genes, len(values)))
    trees_of = np.zeros(len(values))
    for _ in range(trees):
        in_bag = rng.random(len(sampled)) < IN_BAG
        inside, outside = sampled[in_bag], sampled[~in_bag]
        if not (len(inside) and len(outside)):
            continue
        tree = ExtraTreeRegressor(min_samples_leaf=LEAF, random_state=int(rng.integers(2**31)))
        tree.fit(features[inside], values[inside], sample_weight=counts[inside])
        sums[outside] += tree.predict(features[outside])
        predicted = tree.predict(shuffled[:, outside].reshape(-1, genes))
        shuffled_sums[:, outside] += predicted.reshape(genes, -1)
        trees_of[outside] += 1
    scored = trees_of > 0
    weights, truth, trees_of = counts[scored], values[scored], trees_of[scored]
    mean = np.average(truth, weights=weights)
    variance = np.average((truth - mean) ** 2, weights=weights)
    if not variance > 0:
        return 0.0, np.zeros(genes)
    error = np.average((sums[scored] / trees_of - truth) ** 2, weights=weights)
    errors = np.average(
        (shuffled_sums[:, scored] / trees_of - truth) ** 2, axis=1, weights=weights
    )
    return float(1 - error / variance), np.asarray((errors - error) / (2 * variance))


def _features(
    rows: Sequence[dict[str, Value]], genes: Sequence[str]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """[network, gene]: the genes as numbers (the index of each choice among the gene's), and
    whether they act.

    Where a gene doesn't act it gets the commonest choice: so it can't stand in for the gene that
    decides whether it does.
    """
    columns, acting = [], []
    for gene in genes:
        indices: dict[Any, int] = {c: index for index, c in enumerate(choices_of(rows, gene))}
        acts = np.array([gene in row for row in rows])
        column = np.array([indices.get(row.get(gene), -1) for row in rows])
        column[~acts] = np.bincount(column[acts]).argmax()
        columns.append(column)
        acting.append(acts)
    return np.array(columns, dtype=np.float32).T.copy(), np.array(acting).T
