"""Metric of an action in UFL: a sparse Riesz map, factorised once."""

from __future__ import annotations

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.errors import InputError


class RieszMap:
    """Riesz map ``P`` given as an assembled matrix.

    Args:
        matrix: ``P``, symmetric positive definite.

    Attributes:
        matrix: ``P``.

    Raises:
        InputError: ``P`` is not positive definite.

    Collective: construction and every method.
    """

    def __init__(self, matrix: PETSc.Mat) -> None:
        self.matrix = matrix
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
