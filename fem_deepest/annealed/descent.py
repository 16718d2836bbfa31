"""Descents of blocks to stationary points, by the solvers that there are; see :class:`.Descend`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action, AssembledAction, AssembledMetric, Metric
from fem_deepest.annealed.search import Descend, Descent
from fem_deepest.errors import NotConverged, NumericalFailure
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.newton import polish
from fem_deepest.solve.paths.newton import NewtonPaths

Array = NDArray[np.float64]


class Counted:
    """An action that counts: products with the second variation in gradients too.

    Args:
        action: The action.
        product: Cost of a product, in gradients.

    Attributes:
        gradients: So far.
    """

    def __init__(self, action: Action, product: float = 2.0) -> None:
        self._action, self._product = action, product
        self.gradients = 0.0

    @property
    def metric(self) -> Metric:
        """See :class:`.Action`."""
        return self._action.metric

    def create(self) -> PETSc.Vec:
        """See :class:`.Action`."""
        return self._action.create()

    def value(self, u: PETSc.Vec) -> float:
        """See :class:`.Action`."""
        return self._action.value(u)

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """See :class:`.Action`."""
        self.gradients += 1.0
        return self._action.gradient(u, g)

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """See :class:`.Action`."""
        self.gradients += self._product
        self._action.hessian(u, d, r)


class CountedAssembled(Counted):
    """An assembled action that counts.

    Args:
        action: The action.
        product: Cost of a product, in gradients.
        matrix: Cost of a second variation with its factors.
    """

    def __init__(self, action: AssembledAction, product: float = 2.0, matrix: float = 10.0) -> None:
        super().__init__(action, product)  # type: ignore[arg-type]
        self._assembled, self._matrix = action, matrix

    @property
    def metric(self) -> AssembledMetric:
        """See :class:`.AssembledAction`."""
        return self._assembled.metric

    def second_variation(self, u: PETSc.Vec) -> PETSc.Mat:
        """See :class:`.AssembledAction`."""
        self.gradients += self._matrix
        return self._assembled.second_variation(u)


def counted(action: Action, product: float = 2.0, matrix: float = 10.0) -> Counted:
    """The action with a count of what is asked of it, in gradients."""
    if isinstance(action, AssembledAction):
        return CountedAssembled(action, product, matrix)
    return Counted(action, product)


def by_columns(action: Counted, solve: Callable[[Action, PETSc.Vec], bool]) -> Descend:
    """Any solver of one vector, column by column.

    Args:
        action: The action, see :func:`counted`.
        solve: ``solve(action, u)`` goes from ``u`` to a stationary point, in place, and says whether it is
            one. Where it fails (``NotConverged``, ``NumericalFailure``) the column is where it was left,
            and its value is no number where the action fails there too.
    """
    u = action.create()

    def descend(U: Array) -> Descent:
        out, many = np.empty_like(U), U.shape[1]
        values, gradients = np.empty(many), np.empty(many)
        converged = np.zeros(many, dtype=bool)
        for s in range(many):
            before = action.gradients
            u.array[...] = U[:, s]
            try:
                converged[s] = solve(action, u)
            except (NotConverged, NumericalFailure):
                converged[s] = False
            out[:, s] = u.array_r
            try:
                values[s] = action.value(u)
            except NumericalFailure:  # as it did at the start of this column
                values[s] = np.nan
            gradients[s] = action.gradients - before
        return Descent(out, values, converged, gradients)

    return descend


def quasi_newton(
    action: Action,
    *,
    tolerance: float,
    iterations: int = 1000,
    pairs: int = 20,
    newton: int = 0,
    product: float = 2.0,
    matrix: float = 10.0,
) -> Descend:
    """L-BFGS in the metric, and some steps of Newton's method if asked for.

    Args:
        action: The action.
        tolerance: Dual norm of the gradient to reach.
        iterations: Most quasi-Newton steps.
        pairs: Size of the memory.
        newton: Most Newton steps after that; they go down, to a minimum.
        product: Cost of a product with the second variation, in gradients.
        matrix: Cost of an assembled second variation and its factors, in gradients.
    """

    def solve(action: Action, u: PETSc.Vec) -> bool:
        memory = LimitedMemory(action.metric, pairs)
        outcome = minimise(action, u, memory, tolerance=tolerance, iterations=iterations)
        memory.clear()
        if not outcome.converged and newton:
            outcome = polish(action, u, tolerance=tolerance, iterations=newton)
        return outcome.converged

    return by_columns(counted(action, product, matrix), solve)


def newton_paths(newton: NewtonPaths, model_precision: float, worth: float = 1.0) -> Descend:
    """Newton's method on all paths at once.

    Args:
        newton: The method.
        model_precision: ``R_f``.
        worth: Cost of an evaluation with second derivatives and their factors, in gradients.
    """

    def descend(U: Array) -> Descent:
        if not U.shape[1]:
            return Descent(U, np.empty(0), np.empty(0, dtype=bool), np.empty(0))
        result = newton.minimise(np.ascontiguousarray(U.T), model_precision, cold=True)
        cost = worth * result.hessians.astype(np.float64)
        return Descent(result.u.T, result.parts.action, result.converged, cost)

    return descend
