"""Riesz map of the path forms: an assembled, symmetric positive definite matrix, factored once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.problem import Slab
from fem_deepest.spaces.assembly import CellMatrix
from fem_deepest.spaces.path import PathSpace

Array = NDArray[np.float64]


def free_motion(slab: Slab) -> Array:
    """Cell matrices (n, L, L) of the quadratic action of a free motion, ``F = 0``, with a mass term.

    ``R_f (1/2 |x'|^2 + 1/(2 T^2) |x|^2)``, measurements, ends and prior; the identity for weights
    without a prior.
    """
    problem, defects, t = slab.problem, slab.defects, slab.problem.transcription
    finite = np.where(np.isfinite(problem.precision), problem.precision, 1.0)
    slopes = t.derivative / defects.steps[:, None, None]
    length = problem.mesh[-1] - problem.mesh[0]
    pair = np.einsum("nr,nra,nrb->nab", slab.weight[..., 0], slopes, slopes)
    nodes = t.nodes.size
    pair += defects.steps[:, None, None] / (length**2 * nodes) * np.eye(nodes)
    cut = nodes * problem.states
    out = slab.quadratic.copy()
    block = np.einsum("nab,ij->naibj", pair, np.diag(finite))
    out[:, :cut, :cut] += block.reshape(len(out), cut, cut)
    i = cut + np.flatnonzero(problem.loose)
    out[:, i, i] += 1.0 / problem.cells
    return out


class AssembledRiesz:
    """``P = sum_i E_i^T K_i E_i``, symmetric positive definite, with a sparse Cholesky factor.

    Args:
        space: The unknowns.
        cells: Cell matrices (n, L, L).

    Attributes:
        matrix: ``P``.

    Collective.
    """

    def __init__(self, space: PathSpace, cells: Array) -> None:
        assembled = CellMatrix(space)
        assembled.assemble(cells)
        self.matrix = assembled.mat
        self._ksp = PETSc.KSP().create(space.comm)
        self._ksp.setOptionsPrefix("riesz_")
        self._ksp.setOperators(self.matrix)
        self._ksp.setType("preonly")
        pc = self._ksp.getPC()
        pc.setType("cholesky")
        pc.setFactorSolverType("mumps")
        self._ksp.setFromOptions()

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``. Collective."""
        self.matrix.mult(d, r)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Collective."""
        self._ksp.solve(r, d)
