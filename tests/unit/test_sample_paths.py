"""Paths under data: the Gaussian posterior of a linear system, and an identity of any other."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray
from test_paths import ENDS, oscillator

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.single import PathAction
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError
from fem_deepest.sample.columns import ActionTarget
from fem_deepest.sample.diagnostics import rhat, standard_error
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.paths import PathsTarget, gauss_newton
from fem_deepest.sample.run import Plan, Setting, sample

Array = NDArray[np.float64]
PLAN = Plan(chains=64, batch=64, relax=150, warmup=100, draws=300)


class Decay:
    """``F(x) = -x``."""

    name, states, parameters = "decay", 1, ()

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return -x

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        return np.full((*x.shape, 1), -1.0), np.zeros((*x.shape, 0))

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        lead = x.shape[:-1]
        return np.zeros((*lead, 1, 1)), np.zeros((*lead, 1, 0)), np.zeros((*lead, 0, 0))


def test_linear_system_has_its_gaussian_posterior() -> None:
    """Euler: the normal equations of residuals that are written down here."""
    R_f, R_m, y = 3.0, 2.0, np.array([1.0, -0.5, 0.3])
    h, seen = np.diff(ENDS), [0, 2, 4]
    observations = Observations(ENDS[seen], y[:, None], [0], precision=R_m)
    paths = Paths(Defects(Decay(), transcription("euler"), ENDS), observations)
    D = np.zeros((4, 5))
    for i in range(4):  # (x_{i+1} - x_i)/h + x_i
        D[i, i], D[i, i + 1] = 1.0 - 1.0 / h[i], 1.0 / h[i]
    H = np.eye(5)[seen]
    precision = R_f * D.T @ np.diag(h) @ D + R_m * H.T @ H
    mean = np.linalg.solve(precision, R_m * H.T @ y)
    covariance = np.linalg.inv(precision)

    def make() -> Setting:
        target = PathsTarget(paths, R_f)
        keep = {"x": lambda v: target.path(v)[:, :, 0].T}
        return Setting(target, lambda: HamiltonianMonteCarlo(target), keep)

    x = sample(make, PLAN, MPI.COMM_SELF).values["x"]
    for i in range(5):
        assert abs(x[..., i].mean() - mean[i]) < 4 * standard_error(x[..., i])
        for j in range(i + 1):
            product = (x[..., i] - mean[i]) * (x[..., j] - mean[j])
            assert abs(product.mean() - covariance[i, j]) < 4 * standard_error(product)


@pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])
def test_virial_theorem(varying: bool) -> None:
    """``E <u - m, dA/du> = n``: path and parameters of an oscillator."""
    paths, R_f = oscillator("midpoint", varying), 2.0
    mean = 0.1 * np.random.default_rng(0).standard_normal(paths.size)

    def make() -> Setting:
        target = PathsTarget(paths, R_f, mean)
        P = target.prior.precision
        virial = {"virial": lambda v: np.sum(v * (P.apply(v) + target.gradient(v)[1]), axis=0)}
        return Setting(target, lambda: HamiltonianMonteCarlo(target), virial)

    x = sample(make, PLAN, MPI.COMM_SELF).values["virial"]
    assert rhat(x) < 1.05
    assert abs(x.mean() - paths.size) < 4 * standard_error(x) < 0.05 * paths.size
    # The prior alone is farther away than what was allowed above.
    target = make().target
    v = target.prior.precision.inverse_root(
        np.random.default_rng(1).standard_normal((paths.size, 500))
    )
    assert abs(make().observe["virial"](v).mean() - paths.size) > 0.1 * paths.size


def test_the_same_through_the_protocol() -> None:
    paths = oscillator("gauss2", False)
    action = PathAction(paths, 1.5)
    mean = action.create()
    mean.array[...] = 0.3
    fast, slow = PathsTarget(paths, 1.5, mean.array_r.copy()), ActionTarget(action, mean)
    v = np.random.default_rng(2).standard_normal((paths.size, 3))
    for one, other in zip(fast.gradient(v), slow.gradient(v), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-11)
    np.testing.assert_allclose(fast.potential(v), slow.potential(v), rtol=0, atol=1e-11)
    assert fast.path(v).shape == (3, paths.defects.nodes.size, 2)
    np.testing.assert_array_equal(
        paths.join(fast.path(v), fast.parameters(v)), (v + fast.prior.mean).T
    )
    with pytest.raises(InputError, match="mean of the paths"):
        PathsTarget(paths, 1.5, np.zeros(3))
    with pytest.raises(InputError, match="finite R_f"):
        PathsTarget(paths, np.inf)


def test_linear_system_relative_to_its_gauss_newton_matrix() -> None:
    """The Gaussian of the chains is the posterior: nothing is refused, draws are independent."""
    R_f, R_m, y = 200.0, 2.0, np.array([1.0, -0.5, 0.3])
    h, seen = np.diff(ENDS), [0, 2, 4]
    observations = Observations(ENDS[seen], y[:, None], [0], precision=R_m)
    paths = Paths(Defects(Decay(), transcription("euler"), ENDS), observations)
    D = np.zeros((4, 5))
    for i in range(4):
        D[i, i], D[i, i + 1] = 1.0 - 1.0 / h[i], 1.0 / h[i]
    H = np.eye(5)[seen]
    precision = R_f * D.T @ np.diag(h) @ D + R_m * H.T @ H
    np.testing.assert_allclose(
        gauss_newton(paths, R_f, np.ones(5)).toarray(), precision, rtol=1e-12
    )
    mean = np.linalg.solve(precision, R_m * H.T @ y)
    target = PathsTarget(paths, R_f, mean, curved=True)
    v = np.random.default_rng(3).standard_normal((5, 4))
    phi, g = target.gradient(v)
    np.testing.assert_allclose(phi, phi[0], rtol=0, atol=1e-10 * np.abs(precision).max())
    np.testing.assert_allclose(g, 0.0, rtol=0, atol=1e-10 * np.abs(precision).max())

    def make() -> Setting:
        # A quarter of a turn in all: a draw does not remember the one before.
        keep = {"x": lambda v: target.path(v)[:, :, 0].T}
        return Setting(target, lambda: HamiltonianMonteCarlo(target, np.pi / 8, 4), keep)

    plan = Plan(chains=16, batch=16, relax=0, warmup=0, draws=400)
    kept = sample(make, plan, MPI.COMM_SELF)
    assert kept.acceptance.min() > 1.0 - 1e-9
    x = kept.values["x"].reshape(-1, 5)
    n, covariance = len(x), np.linalg.inv(precision)
    deviation = np.sqrt(np.diag(covariance))
    assert np.abs((x.mean(axis=0) - mean) / deviation).max() < 4.5 / np.sqrt(n)
    spread = np.cov(x.T) / np.outer(deviation, deviation)
    exact = covariance / np.outer(deviation, deviation)
    # The variance of an entry of a sample covariance of independent draws (Wishart).
    error = np.abs(spread - exact) / np.sqrt((1.0 + exact**2) / n)
    assert error.max() < 4.5
