"""Several discretisations driven by one path, against single ones and exact laws."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import spde_problems as sp
from numpy.polynomial.hermite_e import hermegauss

from fem_deepest.errors import InputError
from fem_deepest.noise.finite_rank import scalar_noise
from fem_deepest.noise.hierarchy import Nested
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spde.coupled import Coarse, CoupledPaths
from fem_deepest.spde.lyapunov import ThetaSteps
from fem_deepest.spde.modal import Grid, ModalHeat
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import EulerMaruyama, Milstein
from fem_deepest.spde.stability import SCHEMES
from fem_deepest.spde.uniform import equation
from fem_deepest.studies import heat_paths
from fem_deepest.studies.heat_sampled import exact_errors, sampled_errors

WHITE, TRACE = ModalHeat(T=0.1), ModalHeat(a=0.5, T=0.1, modes=24, c=1.0)


def test_a_coarse_solution_is_stepped_by_restricted_sums() -> None:
    """Both solutions by dense matrices from the loads of the fine path, written out."""
    T, n, m, samples = 0.2, 6, 3, (4, 7)
    V = sp.interval(8)
    noise = QWiener(WhiteCovariance(V), WhiteNoise(V, seed=3))
    fine = EulerMaruyama(SemilinearSPDE(V, A=sp.laplace(V), noise=noise, bcs=[sp.clamped(V)]))
    W = sp.interval(4)
    coarse = EulerMaruyama(SemilinearSPDE(W, A=sp.laplace(W), bcs=[sp.clamped(W)]))
    within = Nested(W, V)
    U, U_c = CoupledPaths(fine, T, n, [Coarse(coarse, n // m, within)]).end(samples)
    (Mf, Kf, free), (Mc, Kc, inner) = sp.matrices(fine.problem), sp.matrices(coarse.problem)
    x, y = np.zeros((len(free), 2)), np.zeros((len(inner), 2))
    x_c, x_f = (space.tabulate_dof_coordinates()[:, 0] for space in (W, V))
    P = np.maximum(0.0, 1.0 - 4 * np.abs(x_f[:, None] - x_c))
    b_c, k = np.zeros((5, 2)), T / n
    for step in range(n):
        b = noise.increment(step, k, samples).load
        x = np.linalg.solve(Mf + k * Kf, Mf @ x + b[free])
        b_c += P.T @ b
        if step % m == m - 1:
            y = np.linalg.solve(Mc + m * k * Kc, Mc @ y + b_c[inner])
            b_c[:] = 0.0
    np.testing.assert_allclose(U[free], x, rtol=0, atol=1e-14)
    np.testing.assert_allclose(U_c[inner], y, rtol=0, atol=1e-14)
    assert np.abs(np.delete(U, free, axis=0)).max() == 0.0


@pytest.mark.parametrize("heat", [WHITE, TRACE], ids=["white", "trace class"])
def test_fully_discrete_second_moment_within_four_standard_errors(heat) -> None:
    """Sampled through the equation and its noise; exactly by the modal sum, to 1e-10 by Lyapunov."""
    cells, steps, samples = 16, 32, 4000
    exact = heat.second_moment(Grid(cells, steps))
    assert ThetaSteps(equation(heat, cells), heat.T, steps).second_moment == pytest.approx(
        exact, abs=1e-10
    )
    nested = heat_paths.coupled(heat, (cells, steps), [], seed=11)
    (U,) = nested.end(range(samples))
    square = heat_paths.square(nested.fine.problem, U)
    assert abs(square.mean() - exact) < 4.0 * square.std() / np.sqrt(samples)
    point = heat_paths.point_value(nested.fine.problem.V, U) ** 2
    P = ThetaSteps(equation(heat, cells), heat.T, steps).covariance
    assert abs(point.mean() - P[7, 7]) < 4.0 * point.std() / np.sqrt(samples)


@pytest.mark.parametrize("heat", [WHITE, TRACE], ids=["white", "trace class"])
@pytest.mark.parametrize("sizes", [[(4, 32), (8, 32), (16, 32)], [(8, 8), (8, 16), (8, 32)]])
def test_distances_within_four_standard_errors(heat, sizes) -> None:
    from mpi4py import MPI

    exact = exact_errors(heat, sizes)
    found = sampled_errors(heat, sizes, 5, range(1000), MPI.COMM_SELF)
    for name, power in (("strong", 2), ("weak", 1)):
        mean, error = found[name].mean(axis=1), found[name].std(axis=1) / np.sqrt(1000)
        assert np.all(np.abs(mean - exact[name] ** power) < 4.0 * error)


def _geometric(meaning: str, sigma: float = 2.0) -> SemilinearSPDE:
    V = sp.interval(8)
    return SemilinearSPDE(
        V,
        A=sp.laplace(V),
        G=lambda u: sigma * u,
        noise=scalar_noise(V, seed=1),
        interpretation=meaning,
        bcs=[sp.clamped(V)],
        u0=sp.sine(V),
    )


@pytest.mark.parametrize("kind", [EulerMaruyama, Milstein])
def test_strong_errors_of_multiplicative_noise_on_one_path(kind) -> None:
    """``E (X_n - S)^2`` against the exact solution ``S`` of the same path, without a slope to be judged.

    Scheme and solution multiply by ``R`` and ``exp(-(lam + sigma^2/2) k + sigma dbeta)`` in a step, so
    this moment and the fourth, which gives its standard error, are sums of powers of those of one step.
    """
    sigma, T, fine, samples = 1.0, 0.25, 256, 2000
    problem = _geometric("ito", sigma)
    coarse = [Coarse(kind(problem), n) for n in (16, 32, 64, 128)]
    solutions = CoupledPaths(kind(problem), T, fine, coarse).end(range(samples))
    increments = [problem.noise.increment(n, T / fine, range(samples)) for n in range(fine)]
    beta = np.sum([dW.modes[0] for dW in increments], axis=0)
    lam = sp.discrete_eigenvalue(8)
    exact = np.exp(-lam * T - 0.5 * sigma**2 * T + sigma * beta)
    nodes, weights = hermegauss(40)
    weights = weights / weights.sum()
    for n, U in zip((256, 16, 32, 64, 128), solutions, strict=True):
        k = T / n
        b = np.sqrt(k) * nodes
        twice = 0.5 * sigma**2 * (b**2 - k) if kind is Milstein else 0.0
        R, S = (
            (1.0 + sigma * b + twice) / (1.0 + k * lam),
            np.exp(-(lam + 0.5 * sigma**2) * k + sigma * b),
        )
        second, fourth = (
            sum(
                comb(m, i) * (-1) ** i * (weights @ (R ** (m - i) * S**i)) ** n
                for i in range(m + 1)
            )
            for m in (2, 4)
        )
        square = np.mean((sp.coefficient(problem, U) - exact) ** 2)
        error = np.sqrt((fourth - second**2) / samples)
        assert abs(square - second) < 4.0 * error < 0.2 * second, n


def test_ito_and_stratonovich_on_one_path() -> None:
    """0.019550 and 0.053141, sampled with the same increments, four standard errors of each apart.

    A Crank-Nicolson-Milstein step multiplies ``E X^2`` by ``(a^2 + s + s^2/2) / (1 + z/2)^2`` with
    ``a = 1 - z/2``, and the correction of a Stratonovich equation adds ``s/2`` to ``a``.
    """
    sigma, T, n, samples = 2.0, 0.25, 64, 8000
    z, s = T / n * sp.discrete_eigenvalue(8), T / n * sigma**2
    found = {}
    for meaning, exact, more in (("ito", 0.019550, 0.0), ("stratonovich", 0.053141, 0.5 * s)):
        problem = _geometric(meaning)
        (U,) = CoupledPaths(Milstein(problem, theta=0.5), T, n).end(range(samples))
        square = sp.coefficient(problem, U) ** 2
        error = square.std() / np.sqrt(samples)
        mean = (((1.0 - 0.5 * z + more) ** 2 + s + 0.5 * s**2) / (1.0 + 0.5 * z) ** 2) ** n
        assert mean == pytest.approx(exact, rel=0.08)  # lambda^h alone is 1.3 % above pi^2
        assert abs(square.mean() - mean) < 4.0 * error
        found[meaning] = square.mean(), 4.0 * error
    (ito, a), (stratonovich, b) = found["ito"], found["stratonovich"]
    assert ito + a < stratonovich - b


def test_schemes_declare_the_factors_of_the_closed_forms() -> None:
    problem = _geometric("ito")
    kinds = {"backward_euler": EulerMaruyama(problem), "milstein": Milstein(problem)}
    for name, scheme in kinds.items():
        for k in (0.01, 0.3):
            expected = SCHEMES[name].factor(3.0 * k, 1.7**2 * k)
            assert scheme.mean_square(3.0, 1.7, k) == pytest.approx(expected, rel=1e-13)


def test_wrong_input() -> None:
    problem = _geometric("ito")
    scheme = EulerMaruyama(problem)
    with pytest.raises(InputError, match="not nested"):
        CoupledPaths(scheme, 1.0, 6, [Coarse(scheme, 4)])
    within = Nested(sp.interval(4), sp.interval(8))
    with pytest.raises(InputError, match="depends on the solution"):
        CoupledPaths(scheme, 1.0, 6, [Coarse(scheme, 3, within)])
