"""Orders of the time schemes against closed forms, without sampling where a recursion is exact.

The unknown is constant in space, so that a step of the scheme is one of a scalar equation with ``lam`` in
``A`` and ``c`` in ``f``. A slope without chance is the declared order up to what all later changes of the
slope add up to, if they fall like ``k^{1/2}``, the next power of the error, or faster. Of a slope that
is sampled the declared order is the nearest of all multiples of 1/2, with four standard errors to spare.
"""

from __future__ import annotations

import numpy as np
import pytest
import spde_problems as sp
import ufl
from dolfinx import fem
from numpy.polynomial.hermite_e import hermegauss

from fem_deepest.noise.finite_rank import scalar_noise
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import (
    DriftImplicitEuler,
    EulerMaruyama,
    ExponentialEuler,
    ImexTrapezoidal,
    Milstein,
    TamedEuler,
    Theta,
)


def crank_nicolson(problem: SemilinearSPDE) -> Theta:
    return Theta(problem, 0.5)


LINEAR = [
    EulerMaruyama,
    crank_nicolson,
    ImexTrapezoidal,
    Milstein,
    ExponentialEuler,
    DriftImplicitEuler,
]
LAM, C, T = 0.7, 0.5, 1.0


def _constant(f, G=None, *, lam: float = LAM, start: float = 1.0) -> SemilinearSPDE:
    """``du = (u_xx - lam u - f(u)) dt + G(u) dbeta`` from a constant, with zero flux."""
    V = sp.interval(2)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    u0 = sp.sine(V)
    u0.x.array[:] = start
    A = sp.laplace(V) + fem.Constant(V.mesh, lam) * u * v * ufl.dx
    return SemilinearSPDE(V, A=A, f=f, G=G, noise=scalar_noise(V, 1), u0=u0)


def _step(scheme, x, dt: float, dbeta=None):
    """A step of the scalar equation from ``x`` with the increments ``dbeta``, (S,)."""
    owned = scheme.problem.blocks.owned
    x = np.asarray(x, dtype=float)
    dW = None
    if dbeta is not None:
        row = np.asarray(dbeta, dtype=float)[None, :]
        points = np.repeat(row, scheme.problem.noise.quadrature.points, axis=0)
        dW = sp.Given(load=scheme.problem.noise.loads @ row, points=points, modes=row)
    new = scheme.step(np.tile(x, (owned, 1)), 0.0, dt, dW)
    assert np.ptp(new, axis=0).max() < 1e-8 * (1.0 + np.abs(new).max())
    return new[0]


def _check(errors, order: float, gap: float = 0.5) -> None:
    """Slopes of errors without chance at steps that are halved; ``gap`` to the next power of the error."""
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    tolerance = abs(slopes[-1] - slopes[-2]) / (2.0**gap - 1.0) + 1e-3
    assert tolerance < 0.25, (slopes, tolerance)
    assert abs(slopes[-1] - order) < tolerance, (slopes, tolerance)


def _check_sampled(squares, steps, order: float, left: float) -> None:
    """The slope of two root mean squares of the same samples; its standard error by the delta method.

    Args:
        squares: Squared errors, (samples,), for each number of steps.
        steps: The two numbers.
        order: Declared.
        left: Mean square error of the reference, independent of that of the scheme.
    """
    (coarse, fine), octaves = squares, np.log2(steps[1] / steps[0])
    slope = np.log2(coarse.mean() / fine.mean()) / (2.0 * octaves)
    influence = (coarse / coarse.mean() - fine / fine.mean()) / (2.0 * octaves * np.log(2.0))
    chance = 4.0 * influence.std() / np.sqrt(len(influence))
    bias = left / fine.mean() / (2.0 * octaves * np.log(2.0))
    assert abs(slope - order) + chance + bias < 0.25, (slope, chance, bias)


@pytest.mark.parametrize("kind", LINEAR)
def test_orders_for_geometric_brownian_motion(kind) -> None:
    """``dX = -(lam + c) X dt + sigma X dbeta``: a step multiplies by ``R(dbeta)``, so that all moments of
    the scheme and of the solution ``S`` together are powers of those of one step,

        E (X - S)^2 = (E R^2)^n - 2 (E R S)^n + (E S^2)^n,
        S = exp(-(lam + c + sigma^2/2) k + sigma dbeta).
    """
    sigma = 0.8
    scheme = kind(_constant(lambda u: C * u, lambda u: sigma * u))
    nodes, weights = hermegauss(24)
    weights = weights / weights.sum()
    strong, weak = [], []
    for n in (128, 256, 512, 1024):
        k = T / n
        dbeta = np.sqrt(k) * nodes
        R = _step(scheme, np.ones(len(nodes)), k, dbeta)
        S = np.exp(-(LAM + C + 0.5 * sigma**2) * k + sigma * dbeta)
        RR, RS, SS = (float(weights @ product) ** n for product in (R * R, R * S, S * S))
        np.testing.assert_allclose(SS, np.exp((sigma**2 - 2.0 * (LAM + C)) * T), rtol=1e-10)
        strong.append(np.sqrt(RR - 2.0 * RS + SS))
        weak.append(abs(RR - SS))
    _check(strong, scheme.strong_order(np.inf))
    _check(weak, scheme.weak_order(np.inf))


@pytest.mark.parametrize("kind", LINEAR)
def test_orders_for_an_ornstein_uhlenbeck_process(kind) -> None:
    """``dX = -mu X dt + dbeta``, ``mu = lam + c``: a step is ``r X + s dbeta``. Sums of exact variances.

    The error at ``T = n k`` is ``sum_i int_0^k ( exp(-mu (i k + tau)) - s r^i ) dbeta`` and the start's.
    """
    scheme = kind(_constant(lambda u: C * u))
    mu, strong, weak = LAM + C, [], []
    exact = np.exp(-2.0 * mu * T) - np.expm1(-2.0 * mu * T) / (2.0 * mu)
    for n in (32, 64, 128, 256):
        k = T / n
        r = float(_step(scheme, [1.0], k)[0])
        s = float(_step(scheme, [0.0], k, [1.0])[0])
        i = np.arange(n)
        a, age = s * r**i, k * i
        square = (
            np.exp(-2 * mu * age) * -np.expm1(-2 * mu * k) / (2 * mu)
            - 2 * a * np.exp(-mu * age) * -np.expm1(-mu * k) / mu
            + a**2 * k
        )
        strong.append(np.sqrt((r**n - np.exp(-mu * T)) ** 2 + square.sum()))
        weak.append(abs(r ** (2 * n) + k * (a**2).sum() - exact))
    _check(strong, scheme.strong_order(np.inf))
    _check(weak, scheme.weak_order(np.inf))


def _second_moment(scheme, x, k: float, n: int) -> float:
    """``E X_n^2`` from 1 of a chain ``X' = m(X) + s(X) dbeta``: its density on the grid ``x``.

    The trapezoidal rule converges faster than any power for densities that vanish at the ends, where
    the grid is finer than the deviation of a step.
    """
    mean = _step(scheme, x, k)
    spread = np.sqrt(k) * np.abs(_step(scheme, x, k, np.ones(len(x))) - mean)
    h = x[1] - x[0]
    assert h < 0.8 * spread.min()
    kernel = np.exp(-0.5 * ((x[:, None] - mean) / spread) ** 2) / (np.sqrt(2 * np.pi) * spread)
    density = kernel[:, np.argmin(np.abs(x - 1.0))]
    for _ in range(n - 1):
        density = h * (kernel @ density)
    assert h * density.sum() == pytest.approx(1.0, abs=1e-9)
    return float(h * (x**2 @ density))


@pytest.mark.parametrize("additive", [True, False])
def test_weak_order_of_the_tamed_scheme(additive: bool) -> None:
    """``dX = -(lam + c) X dt + sigma dbeta`` or ``sigma X dbeta``: ``E X(T)^2`` is known. No sampling."""
    sigma, lam, c = (0.25, 0.3, 0.5) if additive else (0.25, 0.1, 0.6)
    scheme = TamedEuler(
        _constant(lambda u: c * u, lambda u: sigma if additive else sigma * u, lam=lam)
    )
    mu = lam + c
    if additive:
        exact = np.exp(-2 * mu * T) - sigma**2 * np.expm1(-2 * mu * T) / (2 * mu)
        x = np.linspace(-1.5, 2.5, 1601)
    else:
        exact = np.exp((sigma**2 - 2 * mu) * T)
        x = np.linspace(0.08, 3.08, 2001)
    errors = [abs(_second_moment(scheme, x, T / n, n) - exact) for n in (16, 32, 64)]
    _check(errors, scheme.weak_order(np.inf))


def _paths(samples: int, fine: int):
    return np.random.default_rng(7).standard_normal((fine, samples)) * np.sqrt(T / fine)


def _strong(scheme, path, exact, steps) -> list:
    """Squared errors, (samples,), for each number of steps."""
    fine, samples = path.shape
    squares = []
    for n in steps:
        x = np.full(samples, scheme.problem.u0.x.array[0])
        for dbeta in path.reshape(n, fine // n, samples).sum(axis=1):
            x = _step(scheme, x, T / n, dbeta)
        squares.append((x - exact) ** 2)
    return squares


@pytest.mark.parametrize("kind", [EulerMaruyama, TamedEuler, DriftImplicitEuler])
def test_strong_orders_for_the_cubic_with_multiplicative_noise(kind) -> None:
    """``dX = -(X^3 - X) dt + sigma X dbeta`` (Kloeden, Platen, Numerical Solution of Stochastic
    Differential Equations, 1992, section 4.4):

        X = X_0 g_T / sqrt(1 + 2 X_0^2 int_0^T g^2 dt),      g_t = exp((1 - sigma^2/2) t + sigma beta_t).

    The integral is by the trapezoidal rule on the finest grid. Between its points the path is a bridge,
    independent of what the schemes see, so that the squares of this error and of theirs add up.
    """
    sigma, samples, fine, steps = 1.0, 1000, 2048, [64, 256]
    scheme = kind(_constant(lambda u: u**3 - u, lambda u: sigma * u, lam=0.0))
    path = _paths(samples, fine)
    t = np.linspace(0.0, T, fine + 1)[:, None]
    beta = np.concatenate([np.zeros((1, samples)), np.cumsum(path, axis=0)])
    g = np.exp((1.0 - 0.5 * sigma**2) * t + sigma * beta)

    def exact(every: int):
        kept = g[::every] ** 2
        integral = (0.5 * (kept[0] + kept[-1]) + kept[1:-1].sum(axis=0)) * T * every / fine
        return g[-1] / np.sqrt(1.0 + 2.0 * integral)

    squares = _strong(scheme, path, exact(1), steps)
    left = float(np.mean((exact(2) - exact(1)) ** 2))  # less is left at the finest
    _check_sampled(squares, steps, scheme.strong_order(np.inf), left)


def test_strong_order_of_the_tamed_scheme_for_additive_noise() -> None:
    """``dX = -c X dt + dbeta``, ``int exp(-c (T - t)) dbeta = beta_T - c int exp(-c (T - t)) beta dt``.

    The last integral is by the trapezoidal rule on the finest grid.
    """
    samples, fine, steps = 2000, 2048, [16, 64]
    scheme = TamedEuler(_constant(lambda u: C * u, lam=0.0))
    path = _paths(samples, fine)
    beta = np.concatenate([np.zeros((1, samples)), np.cumsum(path, axis=0)])
    weight = np.exp(-C * (T - np.linspace(0.0, T, fine + 1)))[:, None]

    def exact(every: int):
        y = (weight * beta)[::every]
        integral = (0.5 * (y[0] + y[-1]) + y[1:-1].sum(axis=0)) * T * every / fine
        return np.exp(-C * T) + beta[-1] - C * integral

    squares = _strong(scheme, path, exact(1), steps)
    left = float(np.mean((exact(2) - exact(1)) ** 2))
    _check_sampled(squares, steps, scheme.strong_order(np.inf), left)


@pytest.mark.parametrize(
    ("kind", "order"),
    [
        (EulerMaruyama, 1),
        (ImexTrapezoidal, 2),
        (ExponentialEuler, 1),
        (TamedEuler, 1),
        (DriftImplicitEuler, 1),
    ],
)
def test_orders_for_the_cubic_without_noise(kind, order: int) -> None:
    """``x' = x - x^3`` from 2: ``x = 2 e^t / sqrt(1 + 4 (e^{2t} - 1))``."""
    scheme = kind(_constant(lambda u: u**3 - u, lam=0.0, start=2.0))
    exact, errors = 2.0 * np.exp(T) / np.sqrt(1.0 + 4.0 * np.expm1(2.0 * T)), []
    for n in (64, 128, 256, 512):
        x = np.array([2.0])
        for _ in range(n):
            x = _step(scheme, x, T / n)
        errors.append(abs(float(x[0]) - exact))
    _check(errors, order)


@pytest.mark.parametrize(
    ("kind", "more"),
    [(EulerMaruyama, 1.0), (crank_nicolson, 2.0), (ImexTrapezoidal, 2.0), (ExponentialEuler, 1.0)],
)
@pytest.mark.parametrize("beta", [0.5, 0.75])
def test_weak_orders_for_rough_additive_noise(kind, more: float, beta: float) -> None:
    """``E |u(T)|^2`` for ``q_j = j^(1 - 2 beta)``, all modes side by side through the scheme's own steps.

    Where ``theta = 1/2`` leaves the stationary law as it is, the modes with ``lambda > T/k^2`` alone are
    wrong: a linear equation has ``k^{2 beta}`` then, twice what is declared for all equations. Steps are
    long against ``h``, where the mesh does not limit the roughness.
    """
    cells, T = 512, 0.5
    problem = sp.heat(cells)
    scheme, number = kind(problem), np.arange(1, cells)
    E = np.sin(np.pi * np.outer(problem.V.tabulate_dof_coordinates()[:, 0], number))
    load = problem.mass(E)
    lam = np.array([sp.discrete_eigenvalue(cells, j) for j in number])
    q = number ** (1.0 - 2.0 * beta)
    errors = []
    for n in (4, 8, 16, 32) if more > 1.0 else (16, 32, 64, 128):
        k = T / n
        r = problem.inner(load, scheme.step(E, 0.0, k, None)) / problem.inner(load, E)
        s = problem.inner(load, scheme.step(0.0 * E, 0.0, k, sp.Given(load=load)))
        s /= problem.inner(load, E)
        found = s**2 * k * (1.0 - r ** (2 * n)) / (1.0 - r**2)
        errors.append(abs(q @ (found + np.expm1(-2.0 * lam * T) / (2.0 * lam))))
    assert scheme.weak_order(beta) == beta
    _check(errors, more * beta, gap=1.0 - beta)
