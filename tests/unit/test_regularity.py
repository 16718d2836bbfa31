"""The regularity number: where ``||A^{(beta-1)/2} Q^{1/2}||_HS`` stops converging under refinement.

The square of the norm is ``tr(A^{beta-1} Q) = sum_j lambda_j^{beta-1} e_j^T M C M e_j``, with the
eigenpairs of ``A = -Laplace`` for Dirichlet conditions. A refinement adds to it like a power of h.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from covariances import in_order, interval, p1
from numpy.typing import NDArray
from scipy.linalg import eigh

from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.kernel import KernelCovariance
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white_covariance import WhiteCovariance

Array = NDArray[np.float64]

CELLS = (32, 64, 128)


def _growth(make: Callable[[int], Covariance], number: float) -> float:
    """Exponent with which what is added grows per refinement."""
    squares = []
    for cells in CELLS:
        covariance = make(cells)
        M, K = p1(np.linspace(0.0, 1.0, cells + 1))
        values, vectors = eigh(K[1:-1, 1:-1], M[1:-1, 1:-1])
        moments = vectors.T @ M[1:-1]
        C = in_order(covariance, covariance.apply)
        squares.append((values ** (number - 1.0) * np.diagonal(moments @ C @ moments.T)).sum())
    steps = np.diff(squares)
    return float(np.log2(steps[1] / steps[0]))


def _exponential(x: Array, y: Array) -> Array:
    return np.exp(-np.abs(x[:, :1] - y[:, 0]))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda n: WhiteCovariance(interval(n)), 0.5),
        (lambda n: WhittleMatern(interval(n), kappa=1.0, alpha=0.5, boundary="dirichlet"), 1.0),
        (lambda n: WhittleMatern(interval(n), kappa=1.0, alpha=1.0, boundary="dirichlet"), 1.5),
        (lambda n: WhittleMatern(interval(n), kappa=1.0, alpha=1.5, boundary="dirichlet"), 2.0),
        (lambda n: KarhunenLoeve(interval(n), PowerLaw(0.25), n), 0.75),
        (lambda n: KarhunenLoeve(interval(n), PowerLaw(1.0), n), 1.5),
        (lambda n: KernelCovariance(interval(n), _exponential, beta=1.5), 1.5),
    ],
    ids=["white", "matern-0.5", "matern-1", "matern-1.5", "power-0.25", "power-1", "kernel"],
)
def test_sums_converge_below_the_number_and_diverge_above(
    make: Callable[[int], Covariance], expected: float
) -> None:
    assert make(4).beta() == pytest.approx(expected)
    # Terms j^{2 (number - beta) - 1}: blocks of the sum grow like 2^{2 (number - beta)}.
    assert _growth(make, expected - 0.2) == pytest.approx(-0.4, abs=0.15)
    assert _growth(make, expected + 0.2) == pytest.approx(0.4, abs=0.15)


def test_another_boundary_condition_stops_at_three_halves() -> None:
    def neumann(cells: int) -> Covariance:
        return WhittleMatern(interval(cells), kappa=1.0, alpha=2.0)

    assert neumann(4).beta() == 2.5
    assert _growth(neumann, 1.3) == pytest.approx(-0.4, abs=0.15)
    assert _growth(neumann, 1.7) == pytest.approx(0.4, abs=0.15)
