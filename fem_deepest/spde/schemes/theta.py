"""Theta schemes: semi-implicit Euler-Maruyama and Crank-Nicolson-Maruyama."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes.scheme import Scheme, StabilityWarning

Array = NDArray[np.float64]

_POWER_STEPS = 30


class Theta(Scheme):
    """``M (U' - U) = -dt ( K (theta U' + (1 - theta) U) + F(U) ) + int G(U) phi dW``.

    ``theta = 1`` is semi-implicit Euler-Maruyama. ``theta = 1/2`` alone leaves the stationary law of
    ``du = -A u dtau + sqrt(2) dW`` as it is at every step: a mode has the stationary variance
    ``1 / (lambda (2 + (2 theta - 1) dt lambda))`` for unit noise. Less than 1/2 needs
    ``dt (1 - 2 theta) lambda_max <= 2``; a longer step is warned about.

    The unknown of the linear system is ``U' - U``, so Dirichlet values need no lifting.

    Args:
        problem: The equation.
        theta: 0 (explicit) to 1 (implicit).
        prefix: See :class:`Scheme`.
        options: See :class:`Scheme`.

    Raises:
        InputError: ``theta`` is not in [0, 1].

    Sources: Yan (2005), doi:10.1137/040605278; Beskos, Roberts, Stuart, Voss (2008),
    doi:10.1142/S0219493708002378, for 1/2.
    """

    name = "theta"
    noise = "any with beta > 0"

    def __init__(
        self,
        problem: SemilinearSPDE,
        theta: float = 1.0,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        if not 0.0 <= theta <= 1.0:
            raise InputError(f"theta = {theta:g}; expected 0 (explicit) to 1 (implicit)")
        super().__init__(problem, prefix=prefix, options=options)
        self.theta = theta

    def step(self, U: Array, t: float, dt: float, dW: Any) -> Array:
        """See :class:`Scheme`."""
        if not self._checked:
            self.check_explicit(U, dt)
        return U + self.solver(self.theta * dt).solve(self.increment(U, dt, dW))

    def increment(self, U: Array, dt: float, dW: Any) -> Array:
        """The right-hand side of the system for ``U' - U``."""
        problem = self.problem
        return self.load(U, dW) - dt * (problem.linear(U) + problem.drift(U))

    def strong_order(self, beta: float) -> float:
        """``beta/2``, at most 1/2, for additive noise at most 1."""
        return min(beta / 2.0, 1.0 if self.problem.additive else 0.5)

    def weak_order(self, beta: float) -> float:
        """``beta``, at most 1; twice ``beta`` for linear equations, additive noise and ``theta = 1/2``."""
        return min(beta, 1.0)

    def mean_square(self, lam: float, sigma: float, dt: float) -> float:
        """``( (1 - (1 - theta) dt lam)^2 + sigma^2 dt ) / (1 + theta dt lam)^2``."""
        explicit = 1.0 - (1.0 - self.theta) * dt * lam
        return (explicit**2 + sigma**2 * dt) / (1.0 + self.theta * dt * lam) ** 2

    def check_explicit(self, U: Array, dt: float) -> None:
        """See :class:`Scheme`; warn too if the linear part is too explicit."""
        super().check_explicit(U, dt)
        if self.theta >= 0.5:
            return
        factor = dt * (1.0 - 2.0 * self.theta) * self._largest_eigenvalue()
        if factor > 2.0:
            warnings.warn(
                f"theta = {self.theta:g} with dt = {dt:g} is unstable: dt (1 - 2 theta) lambda_max = "
                f"{factor:.3g}, expected at most 2; take theta >= 1/2 or dt < {2.0 * dt / factor:.3g}",
                StabilityWarning,
                stacklevel=3,
            )

    def _largest_eigenvalue(self) -> float:
        """Largest eigenvalue of ``K x = lambda M x``, from below, by the power method."""
        problem, invert = self.problem, self.solver(0.0)
        comm, blocks = problem.V.mesh.comm, problem.blocks
        i = blocks.start + np.arange(blocks.owned, dtype=float)
        x, largest = np.cos(2.0 * i + 0.3 * i * i)[:, None], 0.0
        x[problem.fixed] = 0.0
        for _ in range(_POWER_STEPS):
            Kx = problem.linear(x)
            up, down = comm.allreduce(np.array([np.vdot(x, Kx), np.vdot(x, problem.mass(x))]))
            largest = max(largest, up / down)
            x = invert.solve(Kx)
            x /= np.sqrt(comm.allreduce(np.vdot(x, x))) or 1.0
        return largest


class EulerMaruyama(Theta):
    """Semi-implicit Euler-Maruyama: :class:`Theta` with ``theta = 1``, ``f`` and ``G`` explicit."""

    name = "euler-maruyama"

    def __init__(
        self,
        problem: SemilinearSPDE,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        super().__init__(problem, 1.0, prefix=prefix, options=options)
