r"""Covariances of linear discrete equations with additive noise: dense recursions, no sampling.

``M dU = -A U dtau + db`` on any mesh, where ``db`` is the noise load with ``E db db^T = Q dtau`` (white
noise ``Q = M``; Langevin, ``sqrt(2) dW``, ``Q = 2 M``). A theta step with ``D = M + theta k A`` is

    U^{n+1} = R U^n + D^{-1} b^n,     R = D^{-1} (M - (1 - theta) k A),     b^n ~ N(0, k Q),

so ``P^n = E U^n U^{nT}`` obeys the discrete Lyapunov recursion

    P^{n+1} = R P^n R^T + k D^{-1} Q D^{-T}.

Multiplied by ``D`` from both sides its fixed point solves a continuous one, with no cancellation,

    A P N^T + N P A^T = Q,     N = D - k A / 2 = M + (theta - 1/2) k A,

which at ``theta = 1/2`` is that of the equation itself at any step ``k`` (A. Beskos, G. Roberts,
A. Stuart, J. Voss, MCMC methods for diffusion bridges, 2008, doi:10.1142/S0219493708002378).

Arrays are dense, so meshes are small. Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh, lu_factor, lu_solve, solve_continuous_lyapunov

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LinearEquation:
    """``M dU = -A U dtau + db``, ``E db db^T = Q dtau``.

    Attributes:
        M: Mass matrix of the free unknowns, (V, V).
        A: Matrix of the bilinear form, (V, V), not necessarily symmetric.
        Q: Covariance rate of the noise load, (V, V).
    """

    M: Array
    A: Array
    Q: Array

    def __post_init__(self) -> None:
        """Refuse matrices that do not belong together."""
        shape = self.M.shape
        if len(shape) != 2 or shape[0] != shape[1] or not shape == self.A.shape == self.Q.shape:
            raise InputError(
                f"M, A and Q have shapes {shape}, {self.A.shape}, {self.Q.shape}; expected one (V, V)"
            )
        if not _symmetric(self.Q):
            raise InputError("the covariance Q of the noise is not symmetric; give (Q + Q^T)/2")

    def stationary(self, k: float = 0.0, theta: float = 1.0) -> Array:
        """Stationary covariance ``P``, (V, V): of the equation (``k = 0``) or of theta steps of ``k``.

        Raises:
            InputError: There is none, or ``theta < 1/2``.
        """
        _check(k, theta)
        N = self.M + (theta - 0.5) * k * self.A
        if _symmetric(self.A):
            mu, V = eigh(self.A, N)
            if mu[0] <= 0.0:
                raise InputError(
                    f"A has the eigenvalue {mu[0]:.3g}, so there is no stationary law; make it positive"
                )
            return V @ ((V.T @ self.Q @ V) / (mu[:, np.newaxis] + mu)) @ V.T
        B = np.linalg.solve(N, self.A)
        if np.linalg.eigvals(B).real.min() <= 0.0:
            raise InputError("A is not positive, so there is no stationary law; make it so")
        noise = np.linalg.solve(N, np.linalg.solve(N, self.Q).T)
        return np.asarray(solve_continuous_lyapunov(B, 0.5 * (noise + noise.T)), dtype=np.float64)

    def second_moment(self, P: Array) -> float:
        """``E |U|^2 = tr(M P)`` in ``L2``, for the covariance ``P`` of centred coefficients."""
        return float(np.sum(self.M * P))


class Quadratic(NamedTuple):
    """Mean and variance of a quadratic function of a centred Gaussian vector."""

    mean: float
    variance: float


@dataclass(frozen=True, eq=False)
class ThetaSteps:
    """``steps`` theta steps of an equation from ``U = 0`` to ``T``.

    Attributes:
        equation: The equation.
        T: End of the time.
        steps: ``n``; ``k = T/n``.
        theta: 1 backward Euler, 1/2 Crank-Nicolson.
    """

    equation: LinearEquation
    T: float
    steps: int
    theta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no time stepping."""
        if self.steps < 1:
            raise InputError(f"steps = {self.steps}; expected 1 or more")
        _check(self.k, self.theta)
        if self.T <= 0.0:
            raise InputError(f"T = {self.T}; expected a positive end of the time")

    @property
    def k(self) -> float:
        """Length of a step."""
        return self.T / self.steps

    @cached_property
    def R(self) -> Array:
        """Propagator of a step, (V, V)."""
        e = self.equation
        return self.solve(e.M - (1.0 - self.theta) * self.k * e.A)

    def solve(self, b: Array) -> Array:
        """``D^{-1} b``: what a load adds to the solution."""
        e = self.equation
        D = e.M + self.theta * self.k * e.A
        if _symmetric(D):
            return np.asarray(cho_solve(cho_factor(D), b), dtype=np.float64)
        return np.asarray(lu_solve(lu_factor(D), b), dtype=np.float64)

    @cached_property
    def covariance(self) -> Array:
        """``P^n``, (V, V)."""
        one = self.k * self.solve(self.solve(self.equation.Q).T)
        return _geometric(self.R, 0.5 * (one + one.T), self.R, self.steps)

    @property
    def second_moment(self) -> float:
        """``E |U^n|^2`` in ``L2``."""
        return self.equation.second_moment(self.covariance)

    def quadratic(self, B: Array) -> Quadratic:
        """Moments of ``U^T B U``, symmetric ``B``; ``M`` is the square of the norm."""
        return _quadratic(B @ self.covariance)


@dataclass(frozen=True, eq=False)
class Coupled:
    """A fine and a coarse solution driven by the same noise: ``b_c = prolongation^T b_f``, summed in time.

    Attributes:
        fine: Steps on the fine mesh.
        coarse: Steps on the coarse mesh; their number divides that of the fine ones.
        prolongation: Coarse coefficients to fine ones, (V_f, V_c); the identity on one mesh.
    """

    fine: ThetaSteps
    coarse: ThetaSteps
    prolongation: Array

    def __post_init__(self) -> None:
        """Refuse steps that are not nested."""
        if self.fine.steps % self.coarse.steps or self.fine.T != self.coarse.T:
            raise InputError(
                f"{self.fine.steps} fine and {self.coarse.steps} coarse steps are not nested; "
                "let the one be a multiple of the other, with the same T"
            )

    @cached_property
    def cross_covariance(self) -> Array:
        """``E U_f U_c^T`` at the end, (V_f, V_c)."""
        f, c = self.fine, self.coarse
        substeps = f.steps // c.steps
        ones = np.eye(len(f.R))
        # Fine increments within one coarse step: the fine solution propagates them, the coarse does not.
        within = _geometric(f.R, ones, ones, substeps)
        load = c.solve(self.prolongation.T @ f.equation.Q).T
        one = f.k * within @ f.solve(load)
        return _geometric(np.linalg.matrix_power(f.R, substeps), one, c.R, c.steps)

    @cached_property
    def covariance(self) -> Array:
        """Covariance of ``(U_f, U_c)``, (V_f + V_c, V_f + V_c)."""
        C = self.cross_covariance
        return np.block([[self.fine.covariance, C], [C.T, self.coarse.covariance]])

    @property
    def strong_error(self) -> float:
        """``(E |U_f - U_c|^2)^{1/2}`` in ``L2``."""
        M = self.fine.equation.M
        across = np.sum((M @ self.prolongation) * self.cross_covariance)
        square = self.fine.second_moment + self.coarse.second_moment - 2.0 * across
        return float(np.sqrt(max(square, 0.0)))

    @property
    def weak_error(self) -> float:
        """``E |U_f|^2 - E |U_c|^2``, with its sign."""
        return self.fine.second_moment - self.coarse.second_moment

    def difference(self, B_f: Array, B_c: Array) -> Quadratic:
        """Moments of ``U_f^T B_f U_f - U_c^T B_c U_c``, symmetric ``B`` of each mesh."""
        rows = len(B_f)
        S = self.covariance
        return _quadratic(np.vstack([B_f @ S[:rows], -B_c @ S[rows:]]))


def _geometric(left: Array, G: Array, right: Array, n: int) -> Array:
    """``sum_{i<n} left^i G (right^i)^T`` in ``O(log n)`` products, by the bits of ``n``."""
    total = np.zeros_like(G)
    power, L, R = G, left, right
    while n:
        if n & 1:
            total = power + L @ total @ R.T
        n >>= 1
        if n:
            power = power + L @ power @ R.T
            L, R = L @ L, R @ R
    return total


def _quadratic(BS: Array) -> Quadratic:
    """``tr(B S)`` and ``2 tr((B S)^2)``, ``S`` the covariance."""
    return Quadratic(float(np.trace(BS)), float(2.0 * np.sum(BS * BS.T)))


def _symmetric(A: Array) -> bool:
    """Up to the rounding of an assembly."""
    return bool(np.abs(A - A.T).max() <= 1e-12 * np.abs(A).max())


def _check(k: float, theta: float) -> None:
    if not (k >= 0.0 and 0.5 <= theta <= 1.0):
        raise InputError(f"k = {k}, theta = {theta}; expected k >= 0 and theta from 1/2 to 1")
