"""Covariances of linear discrete equations on P1 meshes, against closed forms and loops."""

from __future__ import annotations

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest import _compat
from fem_deepest.errors import InputError
from fem_deepest.spde.lyapunov import Coupled, LinearEquation, ThetaSteps
from fem_deepest.spde.modal import Grid, ModalHeat


def p1(nodes, *, free_end=False, advection=0.0):
    """Nodes, mass and stiffness of P1 with zero at the left end, by DOLFINx, ordered by the node."""
    domain = mesh.create_interval(MPI.COMM_SELF, len(nodes) - 1, (0.0, 1.0))
    _compat.move_nodes(
        domain, np.interp(domain.geometry.x[:, 0], np.linspace(0, 1, len(nodes)), nodes)
    )
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    order = np.argsort(_compat.dof_coordinates(V))[1 : None if free_end else -1]
    M = _compat.assembled(u * v * ufl.dx)
    form = ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
    if advection:
        form += advection * u.dx(0) * v * ufl.dx
    K = _compat.assembled(form)
    pick = np.ix_(order, order)
    return np.sort(_compat.dof_coordinates(V))[1 : None if free_end else -1], M[pick], K[pick]


def graded(cells, seed=3):
    """Random nodes, widths from 1 to 20."""
    widths = np.random.default_rng(seed).uniform(1.0, 20.0, cells)
    return np.concatenate([[0.0], np.cumsum(widths) / widths.sum()])


def interpolation(coarse, fine):
    """Hat functions of the inner coarse nodes at the inner fine nodes."""
    return np.array([np.interp(fine[1:-1], coarse, unit) for unit in np.eye(len(coarse))[1:-1]]).T


@pytest.mark.parametrize("k", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("free_end", [False, True])
def test_theta_one_half_has_the_brownian_law_at_the_nodes(k, free_end) -> None:
    """Langevin, ``sqrt(2) dW``: ``min(s,t) - s t``, or ``min(s,t)`` with a free end, on any mesh."""
    s, M, K = p1(graded(23), free_end=free_end)
    closed = np.minimum.outer(s, s) - (0.0 if free_end else np.outer(s, s))
    P = LinearEquation(M, K, 2.0 * M).stationary(k, theta=0.5)
    rounding = np.finfo(float).eps * np.linalg.cond(K)
    assert rounding < 1e-10
    np.testing.assert_allclose(P, closed, rtol=0, atol=rounding)


def test_the_recursion_itself_reaches_the_brownian_bridge() -> None:
    s, M, K = p1(graded(11))
    steps = ThetaSteps(LinearEquation(M, K, 2.0 * M), 2.0**14 * 0.02, 2**14, theta=0.5)
    np.testing.assert_allclose(
        steps.covariance, np.minimum.outer(s, s) - np.outer(s, s), rtol=0, atol=1e-10
    )


def test_stationary_trace_of_p1() -> None:
    """``tr(M K^{-1}) = 1/6 - h/6`` on a uniform mesh; 1/2 - h/6 with a free end."""
    h = 1 / 20
    nodes = np.linspace(0.0, 1.0, 21)
    _, M, K = p1(nodes)
    equation = LinearEquation(M, K, 2.0 * M)
    assert equation.second_moment(equation.stationary()) == pytest.approx((1 - h) / 6, abs=1e-13)


def test_backward_euler_under_disperses() -> None:
    """Modal stationary variance ``1 / (lambda (2 + (2 theta - 1) k lambda))``, all modes at once."""
    k, cells = 0.03, 16
    j = np.arange(1, cells)
    h = 1 / cells
    lam = 6 / h**2 * (1 - np.cos(j * np.pi * h)) / (2 + np.cos(j * np.pi * h))
    _, M, K = p1(np.linspace(0.0, 1.0, cells + 1))
    equation = LinearEquation(M, K, M)
    for theta in (0.5, 0.75, 1.0):
        found = equation.second_moment(equation.stationary(k, theta))
        assert found == pytest.approx(
            np.sum(1 / (lam * (2 + (2 * theta - 1) * k * lam))), rel=1e-12
        )


@pytest.mark.parametrize("theta", [0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 13, 64])
def test_fully_discrete_second_moment_is_the_modal_sum(theta, steps) -> None:
    cells, T = 24, 0.5
    _, M, K = p1(np.linspace(0.0, 1.0, cells + 1))
    found = ThetaSteps(LinearEquation(M, K, M), T, steps, theta).second_moment
    assert found == pytest.approx(
        ModalHeat(T=T).second_moment(Grid(cells, steps, theta)), abs=1e-10
    )
    assert found == pytest.approx(
        ModalHeat(T=T).second_moment(Grid(cells, steps, theta)), rel=1e-11
    )


def test_a_form_that_is_not_symmetric() -> None:
    """Stationary law by Bartels-Stewart against the limit of a plain loop over steps."""
    _, M, A = p1(graded(9), advection=5.0)
    equation, k, theta = LinearEquation(M, A, M), 0.05, 0.8
    P = np.zeros_like(M)
    D = np.linalg.inv(M + theta * k * A)
    R = D @ (M - (1 - theta) * k * A)
    for _ in range(400):
        P = R @ P @ R.T + k * D @ M @ D.T
    np.testing.assert_allclose(equation.stationary(k, theta), P, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(ThetaSteps(equation, 20.0, 400, theta).covariance, P, rtol=1e-9)


def test_coupled_pair_against_a_loop_over_fine_steps() -> None:
    """Joint covariance of both solutions, stepped as one vector of fine increments at a time."""
    coarse_nodes = graded(5)
    fine_nodes = np.sort(
        np.concatenate([coarse_nodes, coarse_nodes[:-1] + np.diff(coarse_nodes) / 2])
    )
    T, n, substeps = 0.2, 6, 4
    (_, Mf, Kf), (_, Mc, Kc) = p1(fine_nodes), p1(coarse_nodes)
    E = interpolation(coarse_nodes, fine_nodes)
    np.testing.assert_allclose(E.T @ Mf @ E, Mc, rtol=0, atol=1e-15)
    pair = Coupled(
        ThetaSteps(LinearEquation(Mf, Kf, Mf), T, n * substeps),
        ThetaSteps(LinearEquation(Mc, Kc, Mc), T, n),
        E,
    )
    # U_f and U_c as linear maps of all increments, a column for each.
    kf, size = T / (n * substeps), len(Mf)
    Df, Dc = np.linalg.inv(Mf + kf * Kf), np.linalg.inv(Mc + T / n * Kc)
    F, C = np.zeros((size, n * substeps, size)), np.zeros((len(Mc), n * substeps, size))
    for step in range(n * substeps):
        F = np.einsum("ij,jkl->ikl", Df @ Mf, F)
        F[:, step] += Df
        if step % substeps == 0:
            C = np.einsum("ij,jkl->ikl", Dc @ Mc, C)
        C[:, step] += Dc @ E.T
    joint = np.concatenate([F, C])
    expected = kf * np.einsum("ikl,lm,jkm->ij", joint, Mf, joint)
    np.testing.assert_allclose(pair.covariance, expected, rtol=1e-11, atol=1e-16)
    difference = np.hstack([np.eye(size), -E])
    square = np.trace(Mf @ difference @ expected @ difference.T)
    assert pair.strong_error == pytest.approx(np.sqrt(square), rel=1e-10)
    # Moments of a quadratic form, by sampling: 4 standard errors of 1e5 Gaussian vectors.
    x = np.random.default_rng(0).multivariate_normal(np.zeros(len(joint)), expected, 100_000)
    y = np.einsum("si,ij,sj->s", x[:, :size], Mf, x[:, :size])
    y -= np.einsum("si,ij,sj->s", x[:, size:], Mc, x[:, size:])
    exact = pair.difference(Mf, Mc)
    assert exact.mean == pytest.approx(pair.weak_error, rel=1e-10)
    assert abs(y.mean() - exact.mean) < 4 * y.std() / np.sqrt(len(y))
    kurtosis = np.mean((y - y.mean()) ** 4) / y.var() ** 2
    assert abs(y.var() - exact.variance) < 4 * y.var() * np.sqrt((kurtosis - 1) / len(y))


def test_coupled_errors_approach_those_against_the_exact_solution() -> None:
    """Triangle inequality: off by no more than the error of the reference; closer the finer it is."""
    heat, T = ModalHeat(T=0.1), 0.1
    coarse, n = np.linspace(0, 1, 9), 4096
    _, Mc, Kc = p1(coarse)
    expected, before = heat.strong_error(Grid(8, n)), np.inf
    for cells in (32, 128):
        fine = np.linspace(0, 1, cells + 1)
        _, Mf, Kf = p1(fine)
        pair = Coupled(
            ThetaSteps(LinearEquation(Mf, Kf, Mf), T, n),
            ThetaSteps(LinearEquation(Mc, Kc, Mc), T, n),
            interpolation(coarse, fine),
        )
        off = abs(pair.strong_error - expected)
        assert off <= heat.strong_error(Grid(cells, n))
        assert off < 0.5 * before
        before = off
    assert before < 0.1 * expected


def test_variance_of_the_square_of_one_gaussian() -> None:
    one = LinearEquation(np.array([[2.0]]), np.array([[1.0]]), np.array([[3.0]]))
    P = ThetaSteps(one, 1.0, 5)
    mean = 2.0 * P.covariance[0, 0]
    assert P.quadratic(one.M) == pytest.approx((mean, 2.0 * mean**2))


def test_wrong_input() -> None:
    one = np.eye(3)
    with pytest.raises(InputError, match="shapes"):
        LinearEquation(one, one, np.eye(2))
    with pytest.raises(InputError, match="not symmetric"):
        LinearEquation(one, one, one + np.eye(3, k=1))
    with pytest.raises(InputError, match="eigenvalue -1"):
        LinearEquation(one, -one, one).stationary()
    with pytest.raises(InputError, match="not positive"):
        LinearEquation(one, -one + np.eye(3, k=1), one).stationary()
    equation = LinearEquation(one, one, one)
    with pytest.raises(InputError, match=r"theta = 0\.3"):
        equation.stationary(0.1, 0.3)
    with pytest.raises(InputError, match="steps = 0"):
        ThetaSteps(equation, 1.0, 0)
    with pytest.raises(InputError, match="not nested"):
        Coupled(ThetaSteps(equation, 1.0, 6), ThetaSteps(equation, 1.0, 4), one)
