"""Semilinear SPDEs under the covariances: densities, loads, what is too rough."""

from __future__ import annotations

import numpy as np
import pytest
import spde_problems as sp
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve
from fem_deepest.noise.kernel import KernelCovariance
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spde.density import variance_density
from fem_deepest.spde.ensemble import Ensemble
from fem_deepest.spde.path import WienerPath
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import EulerMaruyama, Milstein
from fem_deepest.spde.timestepper import TimeStepper


def _white(V, seed: int = 1) -> QWiener:
    return QWiener(WhiteCovariance(V), WhiteNoise(V, seed))


def _matern(V, seed: int = 1) -> QWiener:
    return QWiener(WhittleMatern(V, kappa=3.0), WhiteNoise(V, seed))


def test_the_density_of_a_sum_of_sines() -> None:
    """``q(x) = sum_j q_j e_j(x)^2`` ; of the projected modes, ``O(h^2)`` apart."""
    errors = []
    for cells in (16, 32):
        V = sp.interval(cells)
        noise = QWiener(KarhunenLoeve(V, np.array([1.0, 0.5])), WhiteNoise(V, 0))
        points = noise.quadrature
        x = points.x[:, 0]
        exact = 2.0 * np.sin(np.pi * x) ** 2 + np.sin(2 * np.pi * x) ** 2
        q = variance_density(noise, points, discrete=False, why="a test")
        errors.append(np.abs(q[:, 0] - exact).max())
    assert errors[1] < 0.03 and errors[0] / errors[1] > 3.5


def test_the_density_is_the_diagonal_of_the_covariance_and_integrates_to_the_trace() -> None:
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 9, 8), ("Lagrange", 1))
    noise = _matern(V)
    points = noise.quadrature
    q = variance_density(noise, points, discrete=False, why="a test")
    C = noise.covariance.apply(np.eye(noise.covariance.blocks.size))
    E = points.matrix.toarray()
    np.testing.assert_allclose(q[:, 0], np.diag(E @ C @ E.T), rtol=1e-12)
    assert points.weights @ q[:, 0] == pytest.approx(noise.trace(), rel=1e-12)


def test_a_continuous_kernel_is_of_trace_class() -> None:
    """The density of the P1 interpolant of a field; beta = 1 is reached, Milstein's scheme may be had."""
    V = sp.interval(8)

    def kernel(x, y):
        return 0.5 * np.exp(-((x[:, None, 0] - y[None, :, 0]) ** 2) / 0.1)

    noise = QWiener(KernelCovariance(V, kernel), WhiteNoise(V, 0))
    assert noise.beta() == 1.0
    q = variance_density(noise, noise.quadrature, discrete=False, why="a test")
    node = V.tabulate_dof_coordinates()
    hat = np.maximum(0.0, 1.0 - 8.0 * np.abs(noise.quadrature.x[:, :1] - node[None, :, 0]))
    expected = np.einsum("qi,ij,qj->q", hat, kernel(node, node), hat)
    np.testing.assert_allclose(q[:, 0], expected, rtol=1e-9)
    Milstein(SemilinearSPDE(V, A=sp.laplace(V), noise=noise, G=lambda u: u))


def test_white_noise_has_no_density_but_one_on_this_mesh() -> None:
    V = sp.interval(8)
    noise = _white(V)
    arguments = {"A": sp.laplace(V), "G": lambda u: u, "noise": noise}
    with pytest.raises(InputError, match=r"not of trace class .*Stratonovich"):
        SemilinearSPDE(V, interpretation="stratonovich", **arguments)
    with pytest.raises(InputError, match=r"not of trace class .*Milstein"):
        Milstein(SemilinearSPDE(V, **arguments))
    problem = SemilinearSPDE(V, interpretation="stratonovich", discrete_density=True, **arguments)
    # 1/2 u q with q = 1/(h/2): two Gauss points of equal weight in a cell.
    U = problem.start() + 3.0
    expected = 0.5 * 3.0 * 16.0 * problem.mass(np.ones_like(U))
    np.testing.assert_allclose(problem.correction(U), expected, rtol=1e-12)
    SemilinearSPDE(V, A=sp.laplace(V), noise=noise, interpretation="stratonovich")  # additive


def test_noise_that_is_too_rough_is_refused() -> None:
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 3, 3), ("Lagrange", 1))
    with pytest.raises(InputError, match=r"beta = 0 in dimension 2.*log 1/h"):
        SemilinearSPDE(V, A=sp.laplace(V), noise=_white(V))
    SemilinearSPDE(V, A=sp.laplace(V), noise=_white(V), rough=True)
    SemilinearSPDE(V, A=sp.laplace(V), noise=_matern(V))
    V = fem.functionspace(mesh.create_unit_cube(MPI.COMM_SELF, 1, 1, 1), ("Lagrange", 1))
    with pytest.raises(InputError, match=r"beta = -0\.5 in dimension 3"):
        SemilinearSPDE(V, A=sp.laplace(V), noise=_white(V))


def test_lumped_noise_comes_with_the_lumped_mass() -> None:
    """``M_L`` is in the step; Milstein at a node is the scalar scheme with ``q = 1/(M_L)_ii``.

    Without ``A`` the nodes are independent: ``u' = u + 2 u dW + 2 u (dW^2 - q dt)``.
    """
    V, dt = sp.interval(4), 0.1
    noise = QWiener(WhiteCovariance(V, lumped=True), WhiteNoise(V, 3, lumped=True))
    zero = fem.Constant(V.mesh, 0.0) * sp.laplace(V)
    problem = SemilinearSPDE(
        V, A=zero, noise=noise, G=lambda u: 2.0 * u, discrete_density=True, u0=sp.sine(V)
    )
    x = V.tabulate_dof_coordinates()[:, 0]
    q = 1.0 / np.where((x < 1e-9) | (x > 1 - 1e-9), 0.125, 0.25)
    u, dW = problem.start(), noise.increment(0, dt)
    w = dW.field
    np.testing.assert_allclose(w, dW.points, rtol=0, atol=1e-13)
    found = Milstein(problem).step(u, 0.0, dt, dW)
    expected = u + 2.0 * u * w + 2.0 * u * (w**2 - q[:, None] * dt)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    additive = SemilinearSPDE(V, A=sp.laplace(V), noise=noise, bcs=[sp.clamped(V)])
    new = EulerMaruyama(additive).step(additive.start(), 0.0, dt, dW)
    _, K, free = sp.matrices(additive)
    expected = np.linalg.solve(np.diag(1.0 / q[free]) + dt * K, dW.load[free])
    np.testing.assert_allclose(new[free], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("make", [_white, _matern])
def test_multiplicative_loads_with_values_at_the_points(make) -> None:
    """``G = 1 + x`` without the unknown; a form of DOLFINx for a coloured increment."""
    V = sp.interval(6)
    x = ufl.SpatialCoordinate(V.mesh)
    noise = make(V)
    problem = SemilinearSPDE(V, A=sp.laplace(V), noise=noise, G=lambda u: 1.0 + x[0])
    assert problem.additive
    dW = noise.increment(2, 0.1, (0, 1))
    found = problem.diffusion(problem.start(2), dW)
    if make is _matern:
        w, v = fem.Function(V), ufl.TestFunction(V)
        w.x.array[:] = dW.field[:, 1]
        dx = ufl.dx(metadata={"quadrature_degree": 2})
        expected = fem.assemble_vector(fem.form((1.0 + x[0]) * w * v * dx)).array
    else:
        rule = noise.quadrature
        E = rule.matrix.toarray()
        expected = E.T @ (rule.weights * (1.0 + rule.x[:, 0]) * dW.points[:, 1])
    np.testing.assert_allclose(found[:, 1], expected, rtol=0, atol=1e-13)


def test_the_second_moment_of_the_stochastic_heat_equation() -> None:
    """White noise, backward Euler: ``sum_j (1 - (1 + k lam_j)^{-2n}) / (lam_j (2 + k lam_j))`` with the
    discrete ``lam_j``, within four standard errors; the mean square of a Gaussian field has variance
    ``2 sum_j v_j^2``.
    """
    cells, k, n, samples = 12, 0.02, 10, 4000
    V = sp.interval(cells)
    problem = SemilinearSPDE(V, A=sp.laplace(V), bcs=[sp.clamped(V)], noise=_white(V, 5))
    U = Ensemble(EulerMaruyama(problem), k, range(samples)).advance(n)
    square = problem.inner(U, problem.mass(U))
    lam = np.array([sp.discrete_eigenvalue(cells, j) for j in range(1, cells)])
    v = (1.0 - (1.0 + k * lam) ** (-2 * n)) / (lam * (2.0 + k * lam))
    error = np.sqrt(2.0 * (v**2).sum() / samples)
    assert abs(square.mean() - v.sum()) < 4.0 * error


def test_bridges_of_coloured_noise() -> None:
    """Parts sum to the step, and the first half has variance ``dt/2`` times that of the law."""
    V, dt, samples = sp.interval(4), 0.2, 4000
    noise = _matern(V)
    path = WienerPath(noise, dt, range(samples))
    whole = path.increment(0.0, dt)
    middle = path.split(0.0, dt)
    first, second = path.increment(0.0, middle), path.increment(middle, dt)
    for name in ("load", "field", "points"):
        both = getattr(first, name) + getattr(second, name)
        np.testing.assert_allclose(both, getattr(whole, name), rtol=0, atol=1e-13)
    variance = 0.5 * dt * noise.covariance.variance()
    error = variance * np.sqrt(2.0 / samples)
    assert (np.abs((first.field**2).mean(axis=1) - variance) < 4.5 * error).all()
    product = (first.field * second.field).mean(axis=1)
    assert (np.abs(product) < 4.5 * variance / np.sqrt(samples)).all()


def test_ts_and_ensemble_with_coloured_noise() -> None:
    V = fem.functionspace(mesh.create_unit_square(MPI.COMM_SELF, 5, 5), ("Lagrange", 1))
    problem = SemilinearSPDE(
        V,
        A=0.01 * sp.laplace(V),
        f=lambda u: u**3 - u,
        G=lambda u: 1.0 - u * u,
        noise=_matern(V),
        interpretation="stratonovich",
    )
    scheme = EulerMaruyama(problem)
    U = Ensemble(scheme, 0.01, (4, 9)).advance(4)
    u = TimeStepper(scheme, 0.01, 0.04, sample=9).solve()
    np.testing.assert_allclose(u.x.array, U[:, 1], rtol=0, atol=1e-13)
    assert TimeStepper(scheme, 0.01, 0.033, sample=9).solve() is not None
