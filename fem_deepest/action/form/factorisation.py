"""Symmetric matrices factorised once: ``L D L^T`` by MUMPS, with Sylvester's inertia.

By Sylvester's law the pivots ``D`` have the signs of the eigenvalues: the number of negative pivots
of a second variation is its Morse index, counted and not estimated.
"""

from __future__ import annotations

from typing import NamedTuple

from fem_deepest._petsc import PETSc
from fem_deepest.errors import NumericalFailure

_NULL = 1e-13  # a pivot smaller than this, relative to the scaled matrix, is none
_ROOM = 50  # per cent of memory for indefinite pivots that are put off


class Inertia(NamedTuple):
    """Numbers of negative, zero and positive eigenvalues."""

    negative: int
    zero: int
    positive: int


class Factorisation:
    """``A = L D L^T`` of a symmetric sparse matrix, indefinite or not.

    Args:
        matrix: Assembled matrix; it may change its values later, see :meth:`update`.

    Raises:
        NumericalFailure: MUMPS has not enough memory, or the matrix is not finite.

    Collective: construction and every method.
    """

    def __init__(self, matrix: PETSc.Mat) -> None:
        self._ksp = PETSc.KSP().create(matrix.comm)
        self._ksp.setType("preonly")
        self._pc = self._ksp.getPC()
        self._pc.setType("cholesky")
        self._pc.setFactorSolverType("mumps")
        self._ksp.setOperators(matrix)
        self._pc.setFactorSetUpSolverType()
        factor = self._pc.getFactorMatrix()
        factor.setMumpsIcntl(13, 1)  # no ScaLAPACK at the root, which cannot count
        factor.setMumpsIcntl(14, _ROOM)
        factor.setMumpsIcntl(24, 1)  # look for null pivots
        factor.setMumpsCntl(3, _NULL)
        self._factorise()

    def update(self) -> None:
        """Factorise anew: the values of the matrix have changed.

        Raises:
            NumericalFailure: See the class.
        """
        self._ksp.setOperators(self._ksp.getOperators()[0])
        self._factorise()

    def _factorise(self) -> None:
        self._ksp.setUp()
        # PETSc says nothing, and MUMPS would count all pivots as positive.
        code = self._pc.getFactorMatrix().getMumpsInfog(1)
        if code < 0:
            raise NumericalFailure(
                f"MUMPS cannot factorise the second variation (INFOG(1) = {code})"
            )

    @property
    def inertia(self) -> Inertia:
        """Sylvester's inertia."""
        return Inertia(*self._pc.getFactorMatrix().getInertia())

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> None:
        """``A x = b``."""
        self._ksp.solve(b, x)

    def destroy(self) -> None:
        """Free the factors."""
        self._ksp.destroy()
