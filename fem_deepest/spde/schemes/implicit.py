"""Drift-implicit Euler scheme: Newton's method for all samples together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError, NotConverged
from fem_deepest.spde.krylov import conjugate_gradients
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes.scheme import Scheme

Array = NDArray[np.float64]

_NEWTON_STEPS = 30
_HALVINGS = 8
_TOLERANCE = 1e-10  # of the residual in the dual norm of M + dt K, relative to the first
_INNER = 1e-3
_ROUNDING = 1e-13


class DriftImplicitEuler(Scheme):
    """``M (U' - U) + dt ( K U' + int f(U') phi ) = int G(U) phi dW``.

    For ``f`` with ``(f(u) - f(v)) (u - v) >= -L (u - v)^2`` and ``dt L < 1`` the system is monotone: it
    has one solution, and moments are bounded for every such step. It is solved by Newton's method. The
    linear systems ``M + dt K + dt int f'(U) phi_i phi_j`` are solved by conjugate gradients with
    ``M + dt K``, factorised once for all samples and steps, as the preconditioner. Residuals are measured
    in its dual norm.

    The Ito correction of a Stratonovich equation is explicit, like ``G``.

    Args:
        problem: The equation, ``A`` symmetric and ``f`` without derivatives of ``u``.
        prefix: See :class:`Scheme`.
        options: See :class:`Scheme`.

    Raises:
        InputError: The system would not be symmetric.

    Source: Kovacs, Larsson, Lindgren (2015), arXiv:1311.2067 (Allen-Cahn).
    """

    name = "drift-implicit-euler"
    noise = "any with beta > 0"

    def __init__(
        self,
        problem: SemilinearSPDE,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        if not problem.symmetric or (problem.f is not None and not problem.f.local):
            raise InputError(
                "the drift is not symmetric (A is not, or f holds a derivative of u); drift-implicit "
                "Euler needs that, take 'euler-maruyama' or 'tamed-euler'"
            )
        super().__init__(problem, prefix=prefix, options=options)
        self.iterations = 0

    def step(self, U: Array, t: float, dt: float, dW: Any) -> Array:
        """See :class:`Scheme`."""
        problem, precondition = self.problem, self.solver(dt)
        b = self.load(U, dW) - dt * (problem.linear(U) - problem.correction(U))
        if problem.f is None:
            return U + precondition.solve(b)

        def residual(d: Array) -> tuple[Array, Array]:
            """Negative residual, and its dual norms, (S,)."""
            r = b - problem.mass(d) - dt * (problem.linear(d) + problem.reaction(U + d))
            z = precondition.solve(r)
            square = problem.inner(r, z)
            if (square < 0.0).any() and (square < -_ROUNDING * problem.inner(abs(r), abs(z))).any():
                raise NotConverged(
                    f"M + dt K is not positive definite for dt = {dt:g}: A has negative eigenvalues; take "
                    "a shorter step, or move what makes them into f"
                )
            return r, np.sqrt(np.maximum(square, 0.0))

        d = np.zeros_like(U)
        r, norm = residual(d)
        floor = _ROUNDING * np.sqrt(problem.inner(U, problem.mass(U)))
        goal = np.maximum(_TOLERANCE * norm, floor)
        for self.iterations in range(_NEWTON_STEPS):
            if not np.isfinite(norm).all():  # which no comparison would notice
                break
            active = norm > goal
            if not active.any():
                return U + d
            p = self._direction(U + d, r, dt, active)
            d, r, norm = self._search(residual, d, p, norm, active)
        with np.errstate(invalid="ignore"):
            worst = float(np.max(norm / np.maximum(goal / _TOLERANCE, floor)))
        raise NotConverged(
            f"Newton's method for a drift-implicit step of dt = {dt:g} stopped after {self.iterations} "
            f"steps at the relative residual {worst:.1e}, expected {_TOLERANCE:.0e}; take a shorter step"
        )

    def _direction(self, V: Array, r: Array, dt: float, active: NDArray[np.bool_]) -> Array:
        problem = self.problem
        slope = problem.slope(V)

        def jacobian(p: Array) -> Array:
            return problem.mass(p) + dt * (problem.linear(p) + problem.multiply(slope, p))

        return conjugate_gradients(
            jacobian, self.solver(dt).solve, np.where(active, r, 0.0), problem.inner, _INNER
        )

    def _search(
        self, residual: Any, d: Array, p: Array, norm: Array, active: NDArray[np.bool_]
    ) -> tuple[Array, Array, Array]:
        """Halve the steps of the samples whose residual does not fall."""
        length = active.astype(float)
        for _ in range(_HALVINGS):
            trial = d + length * p
            r, new = residual(trial)
            worse = active & ~(new < norm)
            if not worse.any():
                return trial, r, new
            length[worse] *= 0.5
        raise NotConverged(
            "no step of Newton's method makes the residual of a drift-implicit step smaller; take a "
            "shorter step"
        )

    def strong_order(self, beta: float) -> float:
        """``beta/2``, at most 1/2, for additive noise at most 1."""
        return min(beta / 2.0, 1.0 if self.problem.additive else 0.5)

    def weak_order(self, beta: float) -> float:
        """``beta``, at most 1."""
        return min(beta, 1.0)

    def mean_square(self, lam: float, sigma: float, dt: float) -> float:
        """``(1 + sigma^2 dt) / (1 + dt lam)^2``."""
        return (1.0 + sigma**2 * dt) / (1.0 + dt * lam) ** 2
