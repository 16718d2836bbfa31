"""IMEX trapezoidal scheme: second order in the drift."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spde.schemes.scheme import Scheme

Array = NDArray[np.float64]


class ImexTrapezoidal(Scheme):
    """Crank-Nicolson for ``A``, Heun's trapezoidal rule for ``f``, both with the same matrix.

        M (V  - U) = -dt ( K (V  + U)/2 + F(U) ) + int G(U) phi dW
        M (U' - U) = -dt ( K (U' + U)/2 + (F(U) + F(V))/2 ) + int G(U) phi dW

    Without noise the error is ``O(dt^2)``, with additive noise the weak error too. Unlike
    Crank-Nicolson/Adams-Bashforth it is a one-step method, so that a restart needs the state alone, and
    a step that is split keeps its order. ``f`` is explicit: ``dt |f'|`` has to be less than about 2.

    Source: Ascher, Ruuth, Spiteri (1997), doi:10.1016/S0168-9274(97)00056-1, for IMEX methods; Milstein,
    Tretyakov, Stochastic Numerics for Mathematical Physics (2004), section 3.4, for additive noise.
    """

    name = "imex-trapezoidal"
    noise = "any with beta > 0; its second order needs additive noise"

    def step(self, U: Array, t: float, dt: float, dW: Any) -> Array:
        """See :class:`Scheme`."""
        if not self._checked:
            self.check_explicit(U, dt)
        problem, solver = self.problem, self.solver(0.5 * dt)
        F = problem.drift(U)
        b = self.load(U, dW) - dt * problem.linear(U)
        V = U + solver.solve(b - dt * F)
        if isinstance(F, float):
            return V
        return U + solver.solve(b - 0.5 * dt * (F + problem.drift(V)))

    def strong_order(self, beta: float) -> float:
        """``beta/2``, at most 1/2, for additive noise at most 1."""
        return min(beta / 2.0, 1.0 if self.problem.additive else 0.5)

    def weak_order(self, beta: float) -> float:
        """``beta``, at most 1, for additive noise at most 2; twice ``beta`` if the equation is linear."""
        return min(beta, 2.0 if self.problem.additive else 1.0)

    def mean_square(self, lam: float, sigma: float, dt: float) -> float:
        """``( (1 - dt lam/2)^2 + sigma^2 dt ) / (1 + dt lam/2)^2``."""
        return ((1.0 - 0.5 * dt * lam) ** 2 + sigma**2 * dt) / (1.0 + 0.5 * dt * lam) ** 2
