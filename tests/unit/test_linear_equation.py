"""From forms to covariances: stationary laws on graded meshes, and sampled moments in the plane."""

from __future__ import annotations

import numpy as np
import pytest
import spde_problems as sp
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spde.coupled import CoupledPaths
from fem_deepest.spde.linear import linear_equation
from fem_deepest.spde.lyapunov import ThetaSteps
from fem_deepest.spde.modal import Grid, ModalHeat
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import Theta


def white(V) -> QWiener:
    return QWiener(WhiteCovariance(V), WhiteNoise(V, seed=2))


@pytest.mark.parametrize("k", [1e-3, 1.0])
@pytest.mark.parametrize("free_end", [False, True])
def test_brownian_covariance_at_the_nodes_of_a_graded_mesh(k, free_end) -> None:
    """``du = u_xx dtau + sqrt(2) dW`` by theta = 1/2: ``min(s,t) - s t``, ``min(s,t)`` with a free end."""
    domain = mesh.create_interval(MPI.COMM_SELF, 15, (0.0, 1.0))
    domain.geometry.x[:, 0] **= 2
    V = fem.functionspace(domain, ("Lagrange", 1))
    left = fem.locate_dofs_geometrical(V, lambda x: np.isclose(x[0], 0.0))
    bcs = [fem.dirichletbc(0.0, left, V)] if free_end else [sp.clamped(V)]
    problem = SemilinearSPDE(V, A=sp.laplace(V), noise=white(V), bcs=bcs)
    s = np.delete(V.tabulate_dof_coordinates()[:, 0], problem.fixed)
    closed = np.minimum.outer(s, s) - (0.0 if free_end else np.outer(s, s))
    P = 2.0 * linear_equation(problem).stationary(k, theta=0.5)
    np.testing.assert_allclose(P, closed, rtol=0, atol=1e-10)


@pytest.mark.parametrize("heat", [ModalHeat(T=0.1), ModalHeat(a=0.5, T=0.1, modes=20)])
def test_fully_discrete_second_moment_is_the_modal_sum(heat) -> None:
    V = sp.interval(10)
    noise = white(V)
    if heat.modes:
        noise = QWiener(KarhunenLoeve(V, PowerLaw(0.5, np.pi), heat.modes), noise.white)
    problem = SemilinearSPDE(V, A=sp.laplace(V), noise=noise, bcs=[sp.clamped(V)])
    found = ThetaSteps(linear_equation(problem), heat.T, 7).second_moment
    assert found == pytest.approx(heat.second_moment(Grid(10, 7)), abs=1e-10)


def test_moments_in_the_plane_with_matern_noise() -> None:
    """Advection, triangles, P2: sampled through the scheme within four standard errors."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, 4, 4)
    V = fem.functionspace(domain, ("Lagrange", 2))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    A = 0.1 * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx + 2.0 * u.dx(0) * v * ufl.dx
    noise = QWiener(WhittleMatern.with_law(V, length=0.4, sigma=1.0), WhiteNoise(V, seed=8))
    problem = SemilinearSPDE(V, A=A, noise=noise, bcs=[sp.clamped(V)])
    T, n, samples = 0.2, 5, 2000
    equation = linear_equation(problem)
    exact = ThetaSteps(equation, T, n, theta=0.75)
    (U,) = CoupledPaths(Theta(problem, 0.75), T, n).end(range(samples))
    square = problem.inner(U, problem.mass(U))
    mean, variance = exact.quadratic(equation.M)
    assert abs(square.mean() - mean) < 4.0 * square.std() / np.sqrt(samples)
    assert square.var() == pytest.approx(variance, rel=0.3)


def test_wrong_input() -> None:
    V = sp.interval(4)
    cases = [
        {"noise": white(V), "f": lambda u: u**3},
        {"noise": white(V), "G": lambda u: u},
        {"noise": None},
    ]
    for case in cases:
        with pytest.raises(InputError, match="a covariance recursion needs"):
            linear_equation(SemilinearSPDE(V, A=sp.laplace(V), **case))
