"""Linear systems of the path forms: assembled, symmetric, and factored once for every Newton step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.forcing import ForcingForm
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.solve.weak.reduction import CyclicReduction
from fem_deepest.spaces.assembly import CellMatrix
from fem_deepest.spaces.ldl import LDL
from fem_deepest.spaces.path import PathSpace

Array = NDArray[np.float64]


class Factor:
    """A matrix of cells with a solver for it.

    Args:
        space: The unknowns.
        ksp: The solver to set up; options with its prefix are obeyed.
        linear: ``"mumps"``: LDL^T by MUMPS. ``"depth"``: GMRES, preconditioned by cyclic reduction.

    Attributes:
        matrix: The assembled matrix.
        negative: Its negative eigenvalues at the last update; None if the solver cannot tell.

    Raises:
        InputError: No linear solver has that name.

    Collective.
    """

    def __init__(self, space: PathSpace, ksp: PETSc.KSP, linear: str) -> None:
        self.ksp, self.matrix = ksp, CellMatrix(space)
        self.negative: int | None = None
        self._reduction: CyclicReduction | None = None
        pc = ksp.getPC()
        if linear == "mumps":
            ksp.setType("preonly")
            pc.setType("cholesky")
            pc.setFactorSolverType("mumps")
        elif linear == "depth":
            self._reduction = CyclicReduction(space)
            ksp.setType("gmres")
            ksp.setTolerances(rtol=1e-10, max_it=100)
            pc.setType("python")
            pc.setPythonContext(self._reduction)
        else:
            raise InputError(f"unknown linear solver '{linear}', expected 'mumps' or 'depth'")
        ksp.setOperators(self.matrix.mat)
        ksp.setFromOptions()
        self._ldl = LDL(ksp) if LDL.fits(ksp) else None

    def update(self, cells: Array) -> int | None:
        """Take new cell matrices (n, L, L) and factor; returns ``negative``. Collective."""
        self.matrix.assemble(cells)
        if self._reduction is not None:
            self.negative = self._reduction.update(cells)
        elif self._ldl is not None:
            try:
                self._ldl.factorise()
                self.negative = self._ldl.inertia.negative
            except NumericalFailure:
                self.negative = None  # SNES will find that the linear solve fails
        return self.negative

    def destroy(self) -> None:
        """Free the matrix and the solver. Collective."""
        self.ksp.destroy()
        self.matrix.mat.destroy()


class ForcingHessian:
    """Second variation of the forcing form at a point."""

    def __init__(self, form: ForcingForm, u: PETSc.Vec) -> None:
        self.form, self.point = form, u.copy()

    def mult(self, _: PETSc.Mat, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A'' d``. Collective."""
        self.form.hessian(self.point, d, r)


class Condensed:
    """Inverse of the Hessian of the forcing form: a solve of the KKT system."""

    def __init__(self, form: ForcingForm, factor: Factor) -> None:
        self.form, self.factor, self.iterations = form, factor, 0
        self.rhs, self.solution = form.saddle.create(), form.saddle.create()

    def apply(self, pc: PETSc.PC, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = A''^{-1} r``. Collective."""
        self.form.embed(r, self.rhs)
        self.factor.ksp.solve(self.rhs, self.solution)
        self.iterations += self.factor.ksp.getIterationNumber()
        if self.factor.ksp.getConvergedReason() < 0:
            pc.setFailedReason(PETSc.PC.FailedReason.SUBPC_ERROR)
        self.form.condense(self.solution, r, d)
