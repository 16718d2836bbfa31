"""Saddle form: path, momenta and weights, ``u = (x, p, w)``, of the Hamiltonian system.

    L(x, p, w) = sum_cells h sum_r omega_r ( p_r . d_r - p_r^T R_f^{-1} p_r / 2 )
               + measurements + ends + prior

Stationary in ``p``: ``d = p/R_f``, that is ``x' = F + p/R_f``; stationary in ``x``: the discrete
``-p' = F_x^T p - dphi/dx`` with the natural end conditions; stationary in ``w``:
``P (w - w_0) = sum h omega F_w^T p``. A stationary point of ``L`` is one of the action, with the same
value, for every ``R_f``; with ``1/R_f = 0`` it is Pontryagin's principle. ``L`` has a maximum in
``p``, so it is no merit function for a line search.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.pathform import CellForm
from fem_deepest.action.weak.problem import WeakProblem

Array = NDArray[np.float64]


class SaddleForm(CellForm):
    """``L(x, p, w)``, the residual of the optimality system, and its Jacobian, the KKT matrix.

    Shaped like :class:`fem_deepest.action.protocol.Action`, but the solution is a saddle point: at a
    minimiser of the action the Hessian has as many negative eigenvalues as there are momenta.

    Args:
        problem: The problem; any ``R_f``, infinity included.
        comm: Communicator; ranks own slabs of cells.
    """

    def __init__(self, problem: WeakProblem, comm: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        defects = problem.transcription.weights.size
        super().__init__(problem, comm, np.ones((defects, problem.states), dtype=bool))

    def pack(self, x: Array, w: Array, p: Array | float = 0.0) -> PETSc.Vec:
        """Vector of a whole path (m, D), weights, and momenta (n, R, D) or a number. Collective."""
        momenta = np.broadcast_to(p, self.space.p.shape)
        return self.fill(
            self.create(), (self.space.x, x), (self.space.w, w), (self.space.p, momenta)
        )

    def unpack(self, u: PETSc.Vec) -> tuple[Array, Array, Array]:
        """Path (m, D), weights and momenta (n, R, D) on every rank. Collective."""
        return self.everywhere(u)

    def value(self, u: PETSc.Vec) -> float:
        """``L(u)``; at a solution the action. Collective."""
        x, w, p = self.local(u)
        return self.total(self.slab.terms(x, w)[0] | self._model(self.slab.defects.value(x, w), p))

    def _model(self, defects: Array, p: Array) -> dict[str, float]:
        density = p * (defects - 0.5 * p / self.problem.precision)
        return {"model": float(np.sum(self.slab.weight * density))}

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """Residual ``g = dL/du`` of the optimality system; returns ``L(u)``. Collective."""
        x, w, p = self.local(u)
        defects, jacobian = self.slab.defects.linearise(x, w)
        terms, g_x, g_w = self.slab.terms(x, w)
        by_cell = np.einsum("nri,nril->nl", self.slab.weight * p, jacobian)
        constraint = self.slab.weight * (defects - p / self.problem.precision)
        self.space.add(
            g,
            (self.space.cell_numbers[:, : by_cell.shape[1]], by_cell),
            (self._p, constraint),
            (self._x, g_x),
            (self._w, g_w),
        )
        return self.total(terms | self._model(defects, p))

    def elements(self, u: PETSc.Vec, curvature: float = 1.0) -> Array:
        """Cell matrices (n, L, L) of the KKT matrix, symmetric and indefinite. Collective."""
        return self.slab.optimality(*self.local(u), curvature)
