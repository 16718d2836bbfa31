"""Linear systems with one matrix and many right-hand sides: set up once, solved for blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError, NotConverged, NumericalFailure

Array = NDArray[np.float64]

CHOLESKY: dict[str, str | int | float] = {
    "ksp_type": "preonly",
    "pc_type": "cholesky",
    "pc_factor_mat_solver_type": "mumps",
}
LU: dict[str, str | int | float] = {**CHOLESKY, "pc_type": "lu"}
MULTIGRID: dict[str, str | int | float] = {
    "ksp_type": "cg",
    "ksp_rtol": 1e-10,
    "pc_type": "hypre",
    "pc_hypre_type": "boomeramg",
}
"""Conjugate gradients with algebraic multigrid: for symmetric matrices too big for a factorisation."""

_TOGETHER = ("preonly", "hpddm")  # solvers that take all columns at once


class Factorised:
    """``A^{-1}`` on blocks (owned rows, S).

    A factorisation solves for all columns together (``KSPMatSolve``), an iterative solver one column after
    the other. What is not chosen on the command line (``-PREFIX_ksp_type ...``) is taken from ``options``.

    Args:
        A: Assembled square matrix; kept by reference. Its mesh must live as long: PETSc's objects die
            with the communicator of the mesh they were assembled on.
        prefix: Prefix of the solver's options, the same on all ranks, without the last underscore.
        options: Options without prefix; :data:`CHOLESKY` for a symmetric definite matrix,
            :data:`MULTIGRID` for a big one; :data:`LU` if None.

    Attributes:
        ksp: The solver, set up.
        iterations: Iterations of the last solve, the most of a column.

    Raises:
        NumericalFailure: The matrix cannot be factorised.

    Collective: construction and every method.
    """

    def __init__(
        self,
        A: PETSc.Mat,
        prefix: str,
        options: Mapping[str, str | int | float] | None = None,
    ) -> None:
        self.prefix, self.iterations = prefix, 0
        self._rows = A.getLocalSize()[0]
        self.ksp = PETSc.KSP().create(A.comm)
        self.ksp.setOperators(A)
        self.ksp.setOptionsPrefix(f"{prefix}_")
        data = PETSc.Options(f"{prefix}_")
        own = {
            key: value
            for key, value in (LU if options is None else options).items()
            if not data.hasName(key)
        }
        for key, value in own.items():
            data.setValue(key, value)
        self.ksp.setFromOptions()
        self._x, self._b = A.createVecs()
        self._dense: dict[int, tuple[PETSc.Mat, PETSc.Mat]] = {}
        try:
            self._set_up()
        finally:  # another solver of this prefix may have others
            for key in own:
                data.delValue(key)

    def update(self) -> None:
        """Set up anew: the values of the matrix have changed.

        Raises:
            NumericalFailure: See the class.
        """
        self.ksp.setOperators(self.ksp.getOperators()[0])
        self._set_up()

    def solve(self, block: Array) -> Array:
        """A new block ``A^{-1} b``.

        Args:
            block: ``b``, (owned rows, S).

        Raises:
            InputError: The block has not one row for each owned row of the matrix.
            NotConverged: The solver did not reach its tolerance for a column.
        """
        if block.ndim != 2 or block.shape[0] != self._rows:
            raise InputError(
                f"a block of shape {block.shape} was given, expected ({self._rows}, samples): one row "
                "for each row of the matrix on this rank"
            )
        samples, self.iterations = block.shape[1], 0
        if samples == 1 or self.ksp.getType() not in _TOGETHER:
            # Column by column, as PETSc would do it; but it would tell of the last column alone.
            out = np.empty(block.shape)
            for s in range(samples):
                self._b.array_w[...] = block[:, s]
                self.ksp.solve(self._b, self._x)
                self._check()
                out[:, s] = self._x.array_r
            return out
        b, x = self._matrices(samples)
        b.getDenseArray()[...] = block
        b.assemble()
        self.ksp.matSolve(b, x)
        self._check()
        return np.array(x.getDenseArray(readonly=True), order="C")

    def destroy(self) -> None:
        """Free the factors and the buffers."""
        for pair in self._dense.values():
            for matrix in pair:
                matrix.destroy()
        self._dense.clear()
        self._b.destroy()
        self._x.destroy()
        self.ksp.destroy()

    def _matrices(self, samples: int) -> tuple[PETSc.Mat, PETSc.Mat]:
        """Dense matrices of that many columns. Only the last two widths are kept."""
        if samples not in self._dense:
            if len(self._dense) == 2:
                for matrix in self._dense.pop(next(iter(self._dense))):
                    matrix.destroy()
            size = ((self._rows, PETSc.DETERMINE), (PETSc.DECIDE, samples))
            pair = tuple(PETSc.Mat().createDense(size, comm=self.ksp.comm) for _ in range(2))
            for matrix in pair:
                matrix.setUp()
                matrix.assemble()
            self._dense[samples] = pair  # type: ignore[assignment]
        return self._dense[samples]

    def _set_up(self) -> None:
        self.ksp.setUp()
        pc = self.ksp.getPC()
        if pc.getType() in ("lu", "cholesky") and pc.getFactorSolverType() == "mumps":
            code = pc.getFactorMatrix().getMumpsInfog(1)
            if code < 0:
                raise NumericalFailure(
                    f"MUMPS cannot factorise the matrix of '{self.prefix}' (INFOG(1) = {code}); it is "
                    "singular or too big"
                )
        elif pc.getFailedReason():
            raise NumericalFailure(f"the solver of '{self.prefix}' cannot be set up")

    def _check(self) -> None:
        self.iterations = max(self.iterations, self.ksp.getIterationNumber())
        reason = self.ksp.getConvergedReason()
        if reason < 0:
            raise NotConverged(
                f"the linear solver of '{self.prefix}' stopped after {self.iterations} iterations "
                f"without convergence (PETSc's reason {reason}); allow more with "
                f"-{self.prefix}_ksp_max_it or choose another with -{self.prefix}_pc_type"
            )
