"""Metric of an action in UFL: a sparse Riesz map, factorised once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.action.root import Loaded, Loads
from fem_deepest.errors import InputError
from fem_deepest.spaces.columns import Columns


class RieszMap:
    """Riesz map ``P`` given as an assembled matrix.

    Args:
        matrix: ``P``, symmetric positive definite.
        loads: Makes ``B`` with ``B B^T = P``, where there is one.

    Attributes:
        matrix: ``P``.

    Raises:
        InputError: ``P`` is not positive definite.

    Collective: construction and every method.
    """

    def __init__(self, matrix: PETSc.Mat, loads: Callable[[], Loads] | None = None) -> None:
        self.matrix, self._loads = matrix, loads
        self._factors = Factorisation(matrix)
        negative, zero, _ = self._factors.inertia
        if negative or zero:
            raise InputError(
                f"the metric has {negative} negative and {zero} zero eigenvalues, expected none; add "
                "a positive term without derivatives, such as 0.5 * inner(x, x), for every unknown"
            )

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``."""
        self.matrix.mult(d, r)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``."""
        self._factors.solve(r, d)

    @cached_property
    def root(self) -> Loaded | None:
        """``R = C B`` with ``R R^T = P^{-1}``, for draws, if ``P`` is a sum over cells."""
        if self._loads is None:
            return None
        columns = Columns(self.matrix.createVecRight)
        return Loaded(self._loads(), lambda block: columns(self.solve, block))
