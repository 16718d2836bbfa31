"""State form: the weak-constraint action of the path and its weights, ``u = (x, w)``.

Sparse and local in depth; a minimisation, whose Hessian has eigenvalues from ``R_m`` to ``R_f/h``
and so becomes ill-conditioned as ``R_f -> inf``.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.pathform import CellForm
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class StateForm(CellForm):
    """``A(x, w)`` of a weak-constraint problem; an :class:`fem_deepest.action.protocol.Action`.

    Args:
        problem: The problem, with a finite ``R_f``.
        comm: Communicator; ranks own slabs of cells.

    Raises:
        InputError: ``R_f`` is infinite.
    """

    def __init__(self, problem: WeakProblem, comm: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        if not np.isfinite(problem.precision).all():
            raise InputError(
                "the state form needs a finite R_f; take the saddle or the forcing form for the "
                "strong constraint R_f = infinity"
            )
        super().__init__(problem, comm, np.zeros((0, problem.states), dtype=bool))
        self._stiffness = self.slab.weight * problem.precision

    def pack(self, x: Array, w: Array) -> PETSc.Vec:
        """Vector of a whole path ``x`` (m, D) with the weights ``w``. Collective."""
        return self.fill(self.create(), (self.space.x, x), (self.space.w, w))

    def unpack(self, u: PETSc.Vec) -> tuple[Array, Array, Array]:
        """Path (m, D), weights, and momenta ``p = R_f d`` (n, R, D), on every rank. Collective."""
        x, w, _ = self.everywhere(u)
        return x, w, self.problem.precision * self.problem.defects().value(x, w)

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``. Collective."""
        x, w, _ = self.local(u)
        defects = self.slab.defects.value(x, w)
        return self.total(self.slab.terms(x, w)[0] | self._model(defects))

    def _model(self, defects: Array) -> dict[str, float]:
        return {"model": 0.5 * float(np.sum(self._stiffness * defects**2))}

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = (dA/dx, dA/dw)``; returns ``A(u)``. Collective."""
        x, w, _ = self.local(u)
        defects, jacobian = self.slab.defects.linearise(x, w)
        terms, g_x, g_w = self.slab.terms(x, w)
        by_cell = np.einsum("nri,nril->nl", self._stiffness * defects, jacobian)
        self.space.add(g, (self.space.cell_numbers, by_cell), (self._x, g_x), (self._w, g_w))
        return self.total(terms | self._model(defects))

    def elements(self, u: PETSc.Vec, curvature: float = 1.0) -> Array:
        """Cell matrices (n, L, L) of the second variation. Collective.

        Without curvature, ``R_f d . d''``, it is the Gauss-Newton matrix, never indefinite.
        """
        x, w, _ = self.local(u)
        defects, jacobian = self.slab.defects.linearise(x, w)
        flat = jacobian.reshape(len(jacobian), -1, jacobian.shape[-1])
        scaled = (self._stiffness[..., None] * jacobian).reshape(flat.shape)
        out = np.swapaxes(flat, 1, 2) @ scaled + self.slab.quadratic
        if curvature:
            momenta = curvature * self._stiffness * defects
            out += self.slab.defects.curvature(x, w, momenta)
        return out
