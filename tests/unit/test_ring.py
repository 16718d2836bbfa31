"""The closed interval has the matrices of the interval with identified ends."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import spde_problems as sp
import ufl
from dolfinx import fem
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.spaces.ring import arc_length, create_ring
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import Theta

CELLS, LENGTH, KAPPA = 24, 2.0, 3.0


def _ring(cells: int = CELLS) -> tuple[fem.FunctionSpace, np.ndarray]:
    """P1, and the dofs in the order of the arc length."""
    V = fem.functionspace(create_ring(MPI.COMM_SELF, cells, LENGTH), ("Lagrange", 1))
    s = fem.Function(V)
    s.interpolate(arc_length(LENGTH))
    return V, np.argsort(s.x.array)


def test_matrices_are_circulant() -> None:
    V, order = _ring()
    s = fem.Function(V)
    s.interpolate(arc_length(LENGTH))
    h = LENGTH / CELLS
    np.testing.assert_allclose(s.x.array[order], h * np.arange(CELLS), rtol=0, atol=1e-14)
    M, K, _ = sp.matrices(SemilinearSPDE(V, A=sp.laplace(V)))
    both = np.ix_(order, order)
    for matrix, row in ((M, [4 * h / 6, h / 6]), (K, [2 / h, -1 / h])):
        column = np.zeros(CELLS)
        column[[0, 1, -1]] = row[0], row[1], row[1]
        np.testing.assert_allclose(matrix[both], scipy.linalg.circulant(column), rtol=0, atol=1e-12)


def test_the_stationary_law_is_periodic() -> None:
    """``du = (u'' - kappa^2 u) dt + sqrt(2) dW``: covariance ``cosh(kappa (L/2 - r)) / (2 kappa
    sinh(kappa L/2))``, variance 0.1674950 for ``L = 2``, ``kappa = 3``, up to ``O(h^2)``.
    """
    errors = []
    for cells in (CELLS, 2 * CELLS):
        V, order = _ring(cells)
        u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
        problem = SemilinearSPDE(V, A=sp.laplace(V) + KAPPA**2 * u * v * ufl.dx)
        M, _, _ = sp.matrices(problem)
        scheme, dt = Theta(problem, 0.5), 0.05
        R = scheme.step(np.eye(cells), 0.0, dt, None)
        B = scheme.step(np.zeros((cells, cells)), 0.0, dt, sp.Given(load=np.eye(cells)))
        C = scipy.linalg.solve_discrete_lyapunov(R, 2.0 * dt * B @ M @ B.T)
        r = LENGTH / cells * np.arange(cells)
        exact = np.cosh(KAPPA * (0.5 * LENGTH - r)) / (2 * KAPPA * np.sinh(0.5 * KAPPA * LENGTH))
        assert exact[0] == pytest.approx(0.1674950, abs=1e-7)
        errors.append(np.abs(C[order[0], order] - exact).max())
    assert errors[1] < 2e-4
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="3 or more"):
        create_ring(MPI.COMM_SELF, 2)
    with pytest.raises(InputError, match="positive"):
        create_ring(MPI.COMM_SELF, 4, -1.0)
