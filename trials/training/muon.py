"""Muon's direction: a momentum whose singular values are all brought near one.

Adam scales each weight alone; a convolution's weights act together, as a matrix from its inputs to
its outputs, and a few large singular values drown the others. Made orthogonal, the update moves
all directions alike (Jordan et al., "Muon: An optimizer for hidden layers in neural networks",
2024, whose scale this is too).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOMENTUM = 0.95
# The quintic iteration of Jordan et al.: it brings singular values between 1e-3 and 1 to about
# 0.7 to 1.2 in five steps.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
# Columns for each row from which on the iteration works on the small square matrices alone.
LONG = 2
# Added to the norm: a matrix of zeros stays one.
EPSILON = 1e-7


def orthogonal(matrices: Tensor) -> Tensor:
    """Each of `matrices` (k r c) with all singular values near one; zeros stay zeros.

    A matrix that is not finite spoils no other one.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True) + EPSILON)
    rows, columns = x.shape[1:]
    # Of long rows, what costs is each product with all of them; the iteration does without.
    x = _iterated_apart(x) if columns >= LONG * rows else _iterated(x)
    return x.mT if tall else x


def _iterated(x: Tensor) -> Tensor:
    """x, k r c, after each step multiplied by a polynomial of x x^T."""
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _iterated_apart(x: Tensor) -> Tensor:
    """The same: the polynomials of x x^T commute, so their product can be made of x x^T alone."""
    a, b, c = COEFFICIENTS
    gram = x @ x.mT
    product: Tensor | None = None
    for left in reversed(range(ITERATIONS)):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        product = polynomial if product is None else polynomial @ product
        if left:
            gram = polynomial @ gram @ polynomial
    assert product is not None
    return product @ x


def scale(length: int, filters: int) -> float:
    """What the update of `filters` of `length` weights is multiplied by, beside the rate.

    With weight norm only a filter's direction counts, so that the step is an angle: at first about
    twice the rate, whatever the convolution's shape. A step that grows with the filters' length,
    as fits Adam's rate, turns the long ones of wide networks too far at a rate at which thin
    networks stand still (tests/benchmarks/README.md).
    """
    return math.sqrt(max(1.0, filters / length))
