"""What all time schemes share."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.factorised import CHOLESKY, LU, MULTIGRID, Factorised
from fem_deepest.spde.problem import SemilinearSPDE

Array = NDArray[np.float64]

_KEPT = 3  # factorisations, one for each length of step (and one of the mass matrix)
_DIRECT = {1: np.inf, 2: 2e5, 3: 3e4}  # dofs above which a factorisation costs more than multigrid


class StabilityWarning(UserWarning):
    """The step is longer than the scheme is stable for."""


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

    Collective: construction and :meth:`step`.
    """

    name: ClassVar[str]
    noise: ClassVar[str]
    """The noise that it is valid for, in words."""

    def __init__(
        self,
        problem: SemilinearSPDE,
        *,
        prefix: str = "spde",
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        self.problem, self._prefix, self._options = problem, prefix, options
        self._solvers = dict[float, Factorised]()
        self._checked = False

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
        """``(M + c K)^{-1}``, set up once for each ``c``; those used last are kept."""
        if c in self._solvers:
            self._solvers[c] = self._solvers.pop(c)
        else:
            if len(self._solvers) == _KEPT:
                self._solvers.pop(next(iter(self._solvers))).destroy()
            problem = self.problem
            big = problem.blocks.size > _DIRECT[problem.V.mesh.topology.dim]
            direct = CHOLESKY if problem.symmetric else LU
            options = self._options or (MULTIGRID if big and problem.symmetric else direct)
            self._solvers[c] = Factorised(problem.matrix(1.0, c), self._prefix, options)
        return self._solvers[c]

    def check_explicit(self, U: Array, dt: float) -> None:
        """Warn, at the first step alone, if ``f`` is too steep for an explicit step of this length."""
        f, self._checked = self.problem.f, True
        if f is None or f.constant or not f.local:
            return
        steepest = float(f.derivative(U).max(initial=0.0))
        steepest = self.problem.V.mesh.comm.allreduce(steepest, MPI.MAX)
        if dt * steepest > 2.0:
            warnings.warn(
                f"{self.name} treats f explicitly, which is unstable with dt = {dt:g}: dt max f'(u) = "
                f"{dt * steepest:.3g} at the start, expected at most 2; take dt < {2.0 / steepest:.3g}, "
                "or 'tamed-euler' or 'drift-implicit-euler'",
                StabilityWarning,
                stacklevel=3,
            )

    def load(self, U: Array, dW: Any) -> Array | float:
        """``int G(U) phi dW``, or zero without noise."""
        return 0.0 if dW is None else self.problem.diffusion(U, dW)


def check_step(dt: float) -> None:
    """Refuse a step that is no positive number."""
    if not (np.isfinite(dt) and dt > 0.0):
        raise InputError(f"dt = {dt:g}; expected a positive length of step")
