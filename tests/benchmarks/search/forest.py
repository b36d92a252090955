"""A second truth for the replay, which shares neither features nor method with the first: a random
forest on the genes.

A sampler that did well only because it thinks as the first surrogate (table.py) does would not do
well here. What the forest can't know is added back as there: the out-of-bag residuals of one of
the table's networks, chosen by the genome's digest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import theilslopes
from sklearn.ensemble import RandomForestRegressor
from table import Array, Curve, residual_of, targets, usable_rows

from space import DesignSpace, Genome

SPACE = DesignSpace()
TREES = 60


def genes(genome: Genome) -> list[float]:
    """The flat parameters (the first choice where a gene says nothing): numbers as they are, words
    one by one.
    """
    params = SPACE.encode(genome)
    values: list[float] = []
    for gene in SPACE.genes:
        value = params[gene.name]
        values += [float(value)] if gene.ordered else [float(value == x) for x in gene.choices]
    return values


@dataclass
class ForestSurrogate:
    """As table.Surrogate."""

    rungs: tuple[int, ...]
    baseline_psnr_db: float
    _trees: list[Any]
    _residuals: Array
    _pace: tuple[float, float]
    errors: dict[str, float]

    def curve(self, genome: Genome) -> Curve:
        """The same for the same genome, always."""
        x = np.array([genes(genome)], dtype=np.float32)
        mean = np.mean([tree.tree_.predict(x)[0, :, 0] for tree in self._trees], axis=0)
        *psnr, octaves = map(float, mean + residual_of(genome, self._residuals))
        return Curve(
            psnr_db=tuple(psnr),
            step_seconds=float(2 ** (self._pace[0] + self._pace[1] * octaves)),
            ratio_to_mo=2**octaves,
        )


def fit_forest(table: Mapping[str, Any], *, baseline_psnr_db: float) -> ForestSurrogate:
    """The forest of `table`; its errors are out-of-bag ones."""
    rows, y = usable_rows(table), targets(table)
    x = np.array([genes(Genome.from_dict(row["genome"])) for row in rows], dtype=np.float32)
    forest = RandomForestRegressor(TREES, oob_score=True, max_features=0.5, random_state=0).fit(
        x, y
    )
    residuals = y - forest.oob_prediction_
    line = theilslopes(
        np.log2([row["seconds"] / table["recipe"]["steps"] for row in rows]), y[:, -1]
    )
    errors = {
        "networks": float(len(rows)),
        "psnr_r2": float(1 - (residuals[:, -2] ** 2).mean() / y[:, -2].var()),
        "ratio_r2": float(1 - (residuals[:, -1] ** 2).mean() / y[:, -1].var()),
    }
    return ForestSurrogate(
        rungs=(*table["rungs"],),
        baseline_psnr_db=baseline_psnr_db,
        _trees=list(forest.estimators_),
        _residuals=residuals,
        _pace=(float(line.intercept), float(line.slope)),
        errors=errors,
    )
