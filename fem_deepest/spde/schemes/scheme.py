"""What all time schemes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.factorised import CHOLESKY, LU, MULTIGRID, Factorised
from fem_deepest.spde.problem import SemilinearSPDE

Array = NDArray[np.float64]

_KEPT = 3  # factorisations, one for each length of step
_DIRECT = {1: np.inf, 2: 3e5, 3: 3e4}  # dofs above which a factorisation costs more than multigrid


class Scheme(ABC):
    """A one-step method for ``du = -(A u + f(u)) dtau + G(u) dW`` on blocks (owned dofs, samples).

    Matrices are factorised once for each length of step; samples share the factorisation. Orders are
    orders in the step, for ``u0`` in the domain of ``A`` and smooth ``f``, ``G``; those in the mesh are
    ``min(beta, p + 1)`` in the strong and ``min(2 beta, p + 1)`` in the weak sense, for degree ``p``.

    Args:
        problem: The equation.
        prefix: Prefix of the options of its linear solver, ``-PREFIX_ksp_type`` and so on.
        options: Options of the linear solver without prefix; by default Cholesky or LU by MUMPS where
            that is fastest, else multigrid.

    Attributes:
        problem: The equation.
        rejects: Whether a step can fail for its length, so that a shorter one may not.

    Collective: construction and :meth:`step`.
    """

    name: ClassVar[str]
    noise: ClassVar[str]
    """The noise that it is valid for, in words."""

    rejects: ClassVar[bool] = False

    def __init__(
        self,
        problem: SemilinearSPDE,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        self.problem, self._prefix, self._options = problem, prefix, options
        self._solvers = dict[float, Factorised]()

    @abstractmethod
    def step(self, U: Array, t: float, dt: float, dW: Any) -> Array:
        """One step.

        Args:
            U: State at ``t``, (owned, S).
            t: Time.
            dt: Length of the step.
            dW: Increment of the Wiener process over the step, or None without noise.

        Returns:
            A new block, the state at ``t + dt``.

        Raises:
            NotConverged: A solver did not reach its tolerance; ``U`` is unchanged.
        """

    @abstractmethod
    def strong_order(self, beta: float) -> float:
        """Order of ``(E |u(T) - U|^2)^{1/2}`` in the step for noise of regularity ``beta``."""

    @abstractmethod
    def weak_order(self, beta: float) -> float:
        """Order of ``|E g(u(T)) - E g(U)|`` in the step for noise of regularity ``beta``."""

    @abstractmethod
    def mean_square(self, lam: float, sigma: float, dt: float) -> float:
        """``E R^2`` with ``X_{n+1} = R X_n`` for ``dX = -lam X dtau + sigma X dbeta``.

        The scheme is mean-square stable where it is less than one; the equation is where
        ``sigma^2 < 2 lam``.
        """

    def solver(self, c: float) -> Factorised:
        """``(M + c K)^{-1}``, set up once for each ``c``."""
        if c not in self._solvers:
            if len(self._solvers) == _KEPT:
                self._solvers.pop(next(iter(self._solvers))).destroy()
            problem = self.problem
            big = problem.blocks.size > _DIRECT[problem.V.mesh.topology.dim]
            direct = CHOLESKY if problem.symmetric else LU
            options = self._options or (MULTIGRID if big and problem.symmetric else direct)
            self._solvers[c] = Factorised(problem.matrix(1.0, c), self._prefix, options)
        return self._solvers[c]

    def load(self, U: Array, dW: Any) -> Array | float:
        """``int G(U) phi dW``, or zero without noise."""
        return 0.0 if dW is None else self.problem.diffusion(U, dW)


def check_step(dt: float) -> None:
    """Refuse a step that is no positive number."""
    if not (np.isfinite(dt) and dt > 0.0):
        raise InputError(f"dt = {dt:g}; expected a positive length of step")
