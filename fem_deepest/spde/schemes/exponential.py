"""Exponential Euler scheme: the linear part exactly in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spde.krylov import rational_lanczos
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes.scheme import Scheme

Array = NDArray[np.float64]

_POLE = 0.1  # of the step: van den Eshof and Hochbruck, section 5
_TOLERANCE = 1e-10


class ExponentialEuler(Scheme):
    """``U' = exp(-dt L) ( U + M^{-1} int G(U) phi dW ) - dt phi_1(-dt L) M^{-1} F(U)``, ``L = M^{-1} K``.

    ``phi_1(z) = (exp(z) - 1)/z``. The noise of a step goes through the whole semigroup of the step, the
    variant ``exp(-dt A) dW`` (not the exact stochastic convolution). Both functions of the matrix come
    from the rational Krylov space of ``(M + gamma K)^{-1} M`` with one real pole, ``gamma = dt/10``: one
    factorisation, and a number of iterations that does not grow as the mesh is refined. Eigenvalues of
    ``A`` may be negative, down to ``-10/dt``.

    Args:
        problem: The equation, ``A`` symmetric.
        prefix: See :class:`Scheme`.
        options: See :class:`Scheme`.
        tolerance: Of the matrix functions, relative in the L2 norm.

    Attributes:
        iterations: Dimension of the Krylov space in the last step.

    Raises:
        InputError: ``A`` is not symmetric.

    Sources: Lord, Tambue (2013), doi:10.1093/imanum/drr059; van den Eshof, Hochbruck (2006),
    doi:10.1137/040605461.
    """

    name = "exponential-euler"
    noise = "any with beta > 0"

    def __init__(
        self,
        problem: SemilinearSPDE,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
        tolerance: float = _TOLERANCE,
    ) -> None:
        if not problem.symmetric:
            raise InputError(
                "A is not symmetric, which exponential Euler needs; take 'euler-maruyama', or move what "
                "is not symmetric into f"
            )
        super().__init__(problem, prefix=prefix, options=options)
        self.tolerance, self.iterations = tolerance, 0

    def step(self, U: Array, t: float, dt: float, dW: Any) -> Array:
        """See :class:`Scheme`."""
        if not self._checked:
            self.check_explicit(U, dt)
        problem, invert_mass = self.problem, self.solver(0.0)
        lift = np.zeros_like(U)
        lift[problem.fixed] = U[problem.fixed]
        free = U - lift
        if dW is not None:
            free = free + invert_mass.solve(problem.diffusion(U, dW))
        F = problem.drift(U)
        if problem.lifted:
            F = F + problem.linear(lift)
        starts, functions = free, [lambda lam: np.exp(-dt * lam)]
        if not isinstance(F, float):
            starts = np.concatenate([free, -dt * invert_mass.solve(F)], axis=1)
            functions.append(lambda lam: _phi_1(-dt * lam))
        parts, self.iterations = rational_lanczos(
            lambda x: self.solver(_POLE * dt).solve(problem.mass(x)),
            problem.mass,
            problem.inner,
            starts,
            functions,
            _POLE * dt,
            self.tolerance,
        )
        return lift + sum(np.split(parts, len(functions), axis=1))

    def strong_order(self, beta: float) -> float:
        """``beta/2``, at most 1/2, for additive noise at most 1."""
        return min(beta / 2.0, 1.0 if self.problem.additive else 0.5)

    def weak_order(self, beta: float) -> float:
        """``beta``, at most 1."""
        return min(beta, 1.0)

    def mean_square(self, lam: float, sigma: float, dt: float) -> float:
        """``exp(-2 dt lam) (1 + sigma^2 dt)``."""
        return float(np.exp(-2.0 * dt * lam) * (1.0 + sigma**2 * dt))


def _phi_1(z: Array) -> Array:
    """``(exp(z) - 1)/z``, 1 at 0."""
    return np.where(z == 0.0, 1.0, np.expm1(z) / np.where(z == 0.0, 1.0, z))
