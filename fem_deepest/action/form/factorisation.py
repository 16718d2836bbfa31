"""Second variations factorised once, and their inertia: see :mod:`fem_deepest.spaces.ldl`."""

from __future__ import annotations

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.ldl import LDL, Inertia

_NULL = 1e-13  # a pivot smaller than this, relative to the scaled matrix, is none


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
        pc = self._ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        self._ksp.setOperators(matrix)
        self._ldl = LDL(self._ksp, _NULL)
        try:
            self._ldl.factorise()
        except Exception:
            self.destroy()
            raise

    def update(self) -> None:
        """Factorise anew: the values of the matrix have changed.

        Raises:
            NumericalFailure: See the class.
        """
        self._ldl.factorise()

    @property
    def inertia(self) -> Inertia:
        """Sylvester's inertia."""
        return self._ldl.inertia

    def solve(self, b: PETSc.Vec, x: PETSc.Vec) -> None:
        """``A x = b``."""
        self._ksp.solve(b, x)

    def destroy(self) -> None:
        """Free the factors."""
        self._ksp.destroy()
