"""The table of trained networks, and a surrogate fitted to it that answers for any genome of the
space.

A sampler proposes genomes that no table holds. The surrogate gives such a genome a latency ratio,
seconds per training step and a PSNR at every rung: a Gaussian process on the work of the network's
parts, plus what the process can't know (seeds, interactions): the left-out residuals of one of the
table's networks, all its rungs together, so that a rung predicts the final PSNR as well, or as
badly, as it does in reality. `errors` tells how well it does, left-out.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import theilslopes

from space import Branch, DesignSpace, Genome

Array = NDArray[np.float64]
PACKED = Path(__file__).parent / "table.json.gz"


@dataclass(frozen=True)
class Curve:
    """What a training of one genome would show: PSNR (dB) at each of the table's rungs, seconds
    per step, times MO.
    """

    psnr_db: tuple[float, ...]
    step_seconds: float
    ratio_to_mo: float


class TableSpace(DesignSpace):
    """The space that the table's networks were drawn from: no stage at 4x, at most three blocks in
    the trunk. Of what came later the surrogate knows nothing.
    """

    genes = tuple(
        replace(
            gene,
            choices={"fine_width": (0,), "skip_blocks": (0, 1, 2, 3)}.get(gene.name, gene.choices),
        )
        for gene in DesignSpace.genes
    )


def load(path: Path = PACKED) -> dict[str, Any]:
    """The packed table, or one that is still being made (.jsonl)."""
    if path.suffix == ".gz":
        table: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
        return table
    head, *rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {**head, "networks": rows}


def branch_work(branch: Branch, deep_width: int) -> list[float]:
    """Multiplications per mosaic pixel of a branch's parts: stem, blocks, way up, refinement."""
    w, s = branch.width, branch.scale
    area = 1 / s**2
    block = 0.0
    if branch.blocks and branch.block == "rdb":
        layers, growth = branch.layers or 0, branch.growth or 0
        block = (
            sum(9 * (w + i * growth) * growth for i in range(layers)) + (w + layers * growth) * w
        )
    elif branch.blocks:
        block = (18 if branch.block == "residual" else 9) * w * w
    up = 9 * w * deep_width * (s / 8) ** 2
    refine = 9 * deep_width**2 * 2 / 64 if branch.refine else 0.0
    stem = 9 * (s * s / branch.stem_groups * 2 * w + 2 * w * w)
    return [stem * area, branch.blocks * block * area, up * area, refine]


def features(genome: Genome) -> list[float]:
    """Numbers that PSNR and latency depend on: works of the parts (log scale), widths, and which
    parts there are.
    """
    deep = genome.deep_width or 0
    by_scale = {branch.scale: branch for branch in genome.branches}
    found: list[float] = []
    for scale in (8, 16, 32, 64):
        branch = by_scale.get(scale)
        works = branch_work(branch, deep) if branch else [0.0] * 4
        found += [float(np.log2(1 + work)) / 4 for work in works]
        found += [0.0, 0.0] if branch is None else [1.0, branch.width / 64]
        found += [float(bool(branch and branch.block == kind)) for kind in ("rdb", "rep")]
    found += [
        deep / 64,
        genome.skip_width / 64,
        genome.skip_width**2 * max(genome.skip_blocks, 0.3) / 64**2,
        genome.skip_blocks / 3,
    ]
    found += [float(genome.fusion == kind) for kind in ("concat", "sum", "dual", "cascade")]
    found += [
        (genome.merge_width or 0) / 48,
        float(genome.merge_shuffle or 0),
        genome.expand_kernel / 3,
    ]
    found += [float(genome.head == kind) for kind in ("none", "add", "concat")]
    found += [
        (genome.head_kernel or 0) / 5,
        (genome.head_width or 0) / 12,
        (genome.merge_channels or 0) / 12,
    ]
    total = (
        sum(sum(branch_work(branch, deep)) for branch in genome.branches)
        + 18 * genome.skip_width**2 * genome.skip_blocks / 64
    )
    return [*found, float(np.log2(1 + total)) / 2]


def usable_rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The networks that were trained to the end, each once."""
    return [row for row in table["networks"] if not row["diverged"] and row["origin"] != "again"]


def targets(table: Mapping[str, Any]) -> Array:
    """Of each usable row: PSNR (dB) at every rung, and log2 of times MO."""
    return np.array(
        [
            [*(rung["psnr_db"] for rung in row["rungs"]), np.log2(row["ratio_to_mo"])]
            for row in usable_rows(table)
        ]
    )


def residual_of(genome: Genome, residuals: Array) -> Array:
    """One row of `residuals`, always the same for the same genome."""
    number = int.from_bytes(hashlib.sha256(genome.digest.encode()).digest()[:4], "big")
    return residuals[number % len(residuals)]


@dataclass
class Surrogate:
    """Fitted to a table; `curve` answers for any genome."""

    rungs: tuple[int, ...]
    baseline_psnr_db: float
    _x: Array
    _scale: Array
    _alpha: Array
    _mean: Array
    _length: float
    _residuals: Array
    _pace: tuple[float, float]
    """log2 of the seconds per training step: at MO's latency, and per octave of latency (a robust
    line).
    """
    errors: dict[str, float]
    """Left-out: R² and RMSE of the final PSNR and of log2(ratio), and the spread of what is added
    back.
    """

    def curve(self, genome: Genome) -> Curve:
        """The same for the same genome, always: its residual is chosen by its digest."""
        x = np.array(features(genome)) * self._scale
        mean = self._mean + _kernel(x[None], self._x, self._length)[0] @ self._alpha
        *psnr, octaves = map(float, mean + residual_of(genome, self._residuals))
        step_seconds = float(2 ** (self._pace[0] + self._pace[1] * octaves))
        return Curve(psnr_db=tuple(psnr), step_seconds=step_seconds, ratio_to_mo=2**octaves)


def fit(table: Mapping[str, Any], *, baseline_psnr_db: float) -> Surrogate:
    """The surrogate of `table`; length scale and noise are those with the least left-out error of
    the final PSNR.
    """
    rows, y = usable_rows(table), targets(table)
    steps = table["recipe"]["steps"]
    raw = np.array([features(Genome.from_dict(row["genome"])) for row in rows])
    spread = raw.std(axis=0)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0) / np.sqrt(raw.shape[1])
    # The total work (last) says more than any other number.
    scale[-1] *= 4
    x, mean = raw * scale, y.mean(axis=0)
    best: tuple[float, float, float, Array] | None = None
    for length in (0.5, 0.8, 1.2, 2.0, 3.0, 5.0):
        for noise in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
            left_out = _left_out(x, y - mean, length, noise)
            error = float(
                (left_out[:, -2] ** 2).mean() / y[:, -2].var()
                + (left_out[:, -1] ** 2).mean() / y[:, -1].var()
            )
            if best is None or error < best[0]:
                best = error, length, noise, left_out
    assert best is not None
    _, length, noise, residuals = best
    # Other programs share the machine that makes the table: single times are too long, the median
    # slope isn't.
    line = theilslopes(np.log2([row["seconds"] / steps for row in rows]), y[:, -1])
    alpha = np.linalg.solve(_kernel(x, x, length) + noise * np.eye(len(x)), y - mean)
    final, ratio = y[:, -2], y[:, -1]
    errors = {
        "networks": float(len(rows)),
        "length": length,
        "noise": noise,
        "psnr_r2": float(1 - (residuals[:, -2] ** 2).mean() / final.var()),
        "psnr_rmse_db": float(np.sqrt((residuals[:, -2] ** 2).mean())),
        "psnr_std_db": float(final.std()),
        "ratio_r2": float(1 - (residuals[:, -1] ** 2).mean() / ratio.var()),
        "step_seconds_at_mo": float(2**line.intercept),
        "seconds_octaves_per_octave": float(line.slope),
        "ratio_rmse_octaves": float(np.sqrt((residuals[:, -1] ** 2).mean())),
    }
    return Surrogate(
        rungs=(*table["rungs"],),
        baseline_psnr_db=baseline_psnr_db,
        _x=x,
        _scale=scale,
        _alpha=alpha,
        _mean=mean,
        _length=length,
        _residuals=residuals,
        _pace=(float(line.intercept), float(line.slope)),
        errors=errors,
    )


def _left_out(x: Array, y: Array, length: float, noise: float) -> Array:
    """What the process misses of each row when that row is left out (closed form)."""
    inverse = np.linalg.inv(_kernel(x, x, length) + noise * np.eye(len(x)))
    return np.asarray((inverse @ y) / np.diag(inverse)[:, None])


def _kernel(a: Array, b: Array, length: float) -> Array:
    distance = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=-1)
    return np.asarray(np.exp(-distance / (2 * length**2)))
