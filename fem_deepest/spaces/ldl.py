"""``L D L^T`` of symmetric sparse matrices by MUMPS, indefinite or not, with Sylvester's inertia.

By Sylvester's law the pivots ``D`` have the signs of the eigenvalues: the number of negative pivots
of a second variation is its Morse index, counted and not estimated.
"""

from __future__ import annotations

from typing import NamedTuple

from fem_deepest._petsc import PETSc
from fem_deepest.errors import NumericalFailure

# MUMPS's errors when indefinite pivots that are put off want more room, and room to give, in per cent.
_SHORT, _ROOM = (-8, -9), (50, 500, 5000)


class Inertia(NamedTuple):
    """Numbers of negative, zero and positive eigenvalues."""

    negative: int
    zero: int
    positive: int


class LDL:
    """The factorisation that a Krylov solver holds as its preconditioner.

    Args:
        ksp: The solver, with operators and a preconditioner "cholesky" by "mumps".
        null: A pivot smaller than this, relative to the scaled matrix, is none; default: MUMPS's own
            threshold, near rounding.

    Attributes:
        ksp: The solver.

    Collective: construction and every method.
    """

    def __init__(self, ksp: PETSc.KSP, null: float | None = None) -> None:
        self.ksp, self._null = ksp, null
        self._prepare(_ROOM[0])

    @staticmethod
    def fits(ksp: PETSc.KSP) -> bool:
        """Whether MUMPS makes an LDL^T for this solver; options may say otherwise."""
        pc = ksp.getPC()
        return pc.getType() == "cholesky" and pc.getFactorSolverType() == "mumps"

    def factorise(self) -> None:
        """Factorise the operator of the solver, whose values may have changed.

        Raises:
            NumericalFailure: MUMPS has not enough memory, or the matrix is not finite.
        """
        pc, matrix = self.ksp.getPC(), self.ksp.getOperators()[0]
        self.ksp.setOperators(matrix)
        pc.setUp()
        for room in _ROOM[1:]:
            if pc.getFactorMatrix().getMumpsInfog(1) not in _SHORT:
                break
            # A factor that failed stays so: make a new one.
            pc.reset()
            self.ksp.setOperators(matrix)
            self._prepare(room)
            pc.setUp()
        # PETSc says nothing, and MUMPS would count all pivots as positive.
        code = pc.getFactorMatrix().getMumpsInfog(1)
        if code < 0:
            raise NumericalFailure(f"MUMPS cannot factorise the matrix (INFOG(1) = {code})")

    @property
    def inertia(self) -> Inertia:
        """Sylvester's inertia."""
        return Inertia(*self.ksp.getPC().getFactorMatrix().getInertia())

    def _prepare(self, room: int) -> None:
        """Settings of MUMPS; options may change them."""
        pc = self.ksp.getPC()
        pc.setFactorSetUpSolverType()
        factor = pc.getFactorMatrix()
        # No ScaLAPACK at the root, which cannot count; null pivots are counted, not divided by.
        for option, value in ((13, 1), (14, room), (24, 1)):
            factor.setMumpsIcntl(option, value)
        if self._null is not None:
            factor.setMumpsCntl(3, self._null)
