"""Kernels against dense Gaussian algebra: detailed balance, and the law that Phi = 0 leaves invariant."""

import numpy as np
import pytest
from path_measures import bridge, double_well
from scipy import sparse
from scipy.linalg import solve_discrete_lyapunov

from fem_deepest.errors import InputError
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.kernel import State, metropolis
from fem_deepest.sample.langevin import Langevin, infinity_mala, spde_mala
from fem_deepest.sample.pcn import PreconditionedCrankNicolson, RandomWalk
from fem_deepest.sample.target import Gaussian
from fem_deepest.spaces.cholesky import Cholesky

rng = np.random.default_rng(5)


class Flat:
    """Phi = 0 on some space."""

    def __init__(self, P: np.ndarray, M: np.ndarray) -> None:
        P, M = (Cholesky(sparse.csr_matrix(A)) for A in (P, M))
        self.prior = Gaussian(np.zeros((P.matrix.shape[0], 1)), P, M)

    def potential(self, v):
        return np.zeros(v.shape[1])

    def gradient(self, v):
        return self.potential(v), np.zeros_like(v)


def matrices(n: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Stiffness and mass of P1 on a graded mesh of (0, 1), both ends clamped."""
    h = np.diff(np.linspace(0, 1, n + 2) ** 1.5)
    P = np.diag(1 / h[:-1] + 1 / h[1:]) - np.diag(1 / h[1:-1], 1) - np.diag(1 / h[1:-1], -1)
    M = (2 * np.diag(h[:-1] + h[1:]) + np.diag(h[1:-1], 1) + np.diag(h[1:-1], -1)) / 6
    return P, M


def test_cholesky_against_dense_algebra() -> None:
    n = 30
    B = sparse.random(n, n, 0.08, random_state=3, format="csr")
    A = sparse.csr_matrix(B @ B.T + sparse.eye(n))
    factor, z = Cholesky(A), rng.standard_normal((n, 4))
    dense, unit = A.toarray(), np.eye(n)
    inverse = np.linalg.inv(dense)
    L, T = factor.root(unit), factor.inverse_root(unit)
    tolerance = 1e-14 * np.linalg.cond(dense) * n
    np.testing.assert_allclose(L @ L.T, dense, rtol=0, atol=tolerance)
    np.testing.assert_allclose(T @ T.T, inverse, rtol=0, atol=tolerance)
    np.testing.assert_allclose(factor.solve(z), inverse @ z, rtol=0, atol=tolerance)
    np.testing.assert_allclose(factor.apply(z), dense @ z, rtol=0, atol=tolerance)
    with pytest.raises(InputError, match="not positive definite"):
        Cholesky(A - 5.0 * sparse.eye(n), "this one")


def log_density(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Of a Gaussian at columns, up to the constant of the covariance."""
    return -0.5 * np.sum((x - mean) * np.linalg.solve(covariance, x - mean), axis=0)


KERNELS = {
    "pcn": lambda t: PreconditionedCrankNicolson(t, 0.3),
    "random walk": lambda t: RandomWalk(t, 0.3),
    **{
        f"{make.__name__} {theta}": lambda t, make=make, theta=theta: make(t, 0.07, theta)
        for make in (infinity_mala, spde_mala)
        for theta in (0.0, 0.3, 0.5, 1.0)
    },
}


def proposal_law(name: str, kernel, v: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, S) and covariance of the proposals, written down from the definition."""
    P, M = kernel.target.prior.precision.matrix.toarray(), kernel.target.prior.mass.matrix.toarray()
    k, C = kernel.step, np.linalg.inv(P)
    if name == "pcn":
        return np.sqrt(1 - k**2) * v, k**2 * C
    if name == "random walk":
        return v, k**2 * C
    N, theta = (P if "infinity" in name else M), kernel.theta
    B = np.linalg.inv(N + k * theta * P)
    return B @ ((N - k * (1 - theta) * P) @ v - k * g), 2 * k * B @ N @ B.T


@pytest.mark.parametrize("name", KERNELS)
def test_detailed_balance(name: str) -> None:
    """``log r = log pi(v') q(v', v) - log pi(v) q(v, v')``, all densities dense; both ways."""
    target = bridge(double_well, 2.0, 8, 4)
    kernel, n, S = KERNELS[name](target), target.prior.size, 6
    P = target.prior.precision.matrix.toarray()
    old = kernel.start(rng.standard_normal((n, S)))
    z = rng.standard_normal((n, S))
    new, log_ratio = kernel.propose(old, z)
    (phi, g), (phi_, g_) = (target.gradient(state.v) for state in (old, new))
    there, covariance = proposal_law(name, kernel, old.v, g)
    back, _ = proposal_law(name, kernel, new.v, g_)
    parts = [
        phi - phi_,
        log_density(old.v, 0 * back, np.linalg.inv(P)) * -1.0,
        log_density(new.v, 0 * back, np.linalg.inv(P)),
        log_density(old.v, back, covariance),
        -log_density(new.v, there, covariance),
    ]
    scale = sum(np.abs(part) for part in parts).max()
    np.testing.assert_allclose(log_ratio, sum(parts), rtol=0, atol=1e-13 * n * scale)
    assert np.abs(log_ratio).min() > 1e-6  # the identity is not 0 = 0
    # The proposals have the law whose density was used.
    silent, _ = kernel.propose(old, 0 * z)
    np.testing.assert_allclose(silent.v, there, rtol=0, atol=1e-12)
    unit = kernel.start(np.zeros((n, n)))
    G = kernel.propose(unit, np.eye(n))[0].v - kernel.propose(unit, np.zeros((n, n)))[0].v
    np.testing.assert_allclose(G @ G.T, covariance, rtol=0, atol=1e-12)


def test_energy_of_hamiltonian_monte_carlo() -> None:
    """Trajectory and change of energy against the same splitting with matrices; and back again."""
    target = bridge(double_well, 2.0, 8, 4)
    kernel, n, S = HamiltonianMonteCarlo(target, 0.25, 4), target.prior.size, 5
    P, C, h = (
        target.prior.precision.matrix.toarray(),
        np.linalg.inv(target.prior.precision.matrix.toarray()),
        0.25,
    )
    old, z = kernel.start(rng.standard_normal((n, S))), rng.standard_normal((n, S))
    new, log_ratio = kernel.propose(old, z)

    def flow(v, w):
        for _ in range(4):
            w = w - h / 2 * C @ target.gradient(v)[1]
            v, w = np.cos(h) * v + np.sin(h) * w, np.cos(h) * w - np.sin(h) * v
            w = w - h / 2 * C @ target.gradient(v)[1]
        return v, w

    def energy(v, w):
        return target.potential(v) + 0.5 * np.sum(v * (P @ v) + w * (P @ w), axis=0)

    start = old.v, target.prior.precision.inverse_root(z)
    v, w = flow(*start)
    np.testing.assert_allclose(new.v, v, rtol=0, atol=1e-12)
    change = energy(*start) - energy(v, w)
    tolerance = 1e-13 * n * energy(*start).max()
    np.testing.assert_allclose(log_ratio, change, rtol=0, atol=tolerance)
    assert np.abs(change).min() > 1e-4
    np.testing.assert_allclose(flow(v, -w)[0], old.v, rtol=0, atol=1e-10)
    with pytest.raises(InputError, match="1 or more"):
        HamiltonianMonteCarlo(target, 0.1, 0)


GAUSSIAN = {
    "pcn": lambda t: PreconditionedCrankNicolson(t, 0.6),
    "infinity_mala": lambda t: infinity_mala(t, 0.9),
    "spde_mala": lambda t: spde_mala(t, 0.4),
    "hmc": lambda t: HamiltonianMonteCarlo(t, 0.7, 3),
}


def linear_law(kernel) -> tuple[np.ndarray, np.ndarray]:
    """``F`` and ``G`` of ``v' = F v + G z`` for Phi = 0."""
    n = kernel.target.prior.size
    zero, unit = np.zeros((n, n)), np.eye(n)
    F = kernel.propose(kernel.start(unit), zero)[0].v
    return F, kernel.propose(kernel.start(zero), unit)[0].v


@pytest.mark.parametrize("name", GAUSSIAN)
def test_prior_is_invariant_at_any_step(name: str) -> None:
    """``F C F^T + G G^T = C``, and nothing is refused."""
    P, M = matrices()
    kernel, C = GAUSSIAN[name](Flat(P, M)), np.linalg.inv(P)
    F, G = linear_law(kernel)
    np.testing.assert_allclose(F @ C @ F.T + G @ G.T, C, rtol=0, atol=1e-14)
    z = rng.standard_normal((9, 5))
    _, log_ratio = kernel.propose(kernel.start(rng.standard_normal((9, 5))), z)
    np.testing.assert_allclose(log_ratio, 0, rtol=0, atol=1e-14)


@pytest.mark.parametrize("theta", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("make", [infinity_mala, spde_mala])
def test_stationary_variance_of_the_theta_scheme(make, theta: float) -> None:
    """A mode of ``dv = -lambda v dtau + sqrt(2) dW`` has ``2 / (lambda (2 + (2 theta - 1) k lambda))``."""
    P, M = matrices()
    k = 1e-4 if make is spde_mala else 0.3  # explicit steps are stable
    F, G = linear_law(make(Flat(P, M), k, theta))
    N = np.linalg.cholesky(M if make is spde_mala else P)
    L = np.linalg.solve(N, np.linalg.solve(N, P).T)  # N^{-1/2} P N^{-1/2}
    lam, Q = np.linalg.eigh(L)
    X = Q.T @ N.T
    covariance = X @ solve_discrete_lyapunov(F, G @ G.T) @ X.T
    exact = 2 / (lam * (2 + (2 * theta - 1) * k * lam))
    np.testing.assert_allclose(covariance, np.diag(exact), rtol=0, atol=1e-10 * exact.max())


def test_metropolis_takes_what_it_should() -> None:
    old = State(np.zeros((2, 4)), np.zeros(4), np.zeros((2, 4)))
    new = State(np.ones((2, 4)), np.ones(4), np.ones((2, 4)))
    ratio, uniform = np.log([0.5, 0.5, 3.0, 1e-300]), np.log([0.4, 0.6, 0.99, 0.5])
    ratio[3] = np.nan
    state = metropolis(old, new, ratio, uniform)
    for field in (state.v[0], state.v[1], state.potential, state.gradient[1]):
        np.testing.assert_array_equal(field, [1, 0, 1, 0])


def test_wrong_kernels_are_refused() -> None:
    P, M = matrices()
    flat = Flat(P, M)
    with pytest.raises(InputError, match="from 0 to 1"):
        infinity_mala(flat, 0.1, 1.5)
    flat.prior = Gaussian(flat.prior.mean, flat.prior.precision)
    with pytest.raises(InputError, match="no mass matrix"):
        spde_mala(flat)
    assert isinstance(infinity_mala(flat), Langevin)
