"""Riesz map of the path forms: an assembled, symmetric positive definite matrix, factored once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.root import Loaded
from fem_deepest.action.weak.problem import Slab
from fem_deepest.spaces.assembly import CellMatrix
from fem_deepest.spaces.columns import Columns
from fem_deepest.spaces.path import PathSpace
from fem_deepest.spaces.semidefinite import factors

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
        self._space, self._cells = space, cells

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``. Collective."""
        self.matrix.mult(d, r)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Collective."""
        self._ksp.solve(r, d)

    @property
    def root(self) -> Loaded:
        """``R`` with ``R R^T = P^{-1}``, for draws of ``N(0, P^{-1})``. Collective."""
        columns = Columns(self._space.create)
        loads = PathLoads(self._space, self._cells)
        return Loaded(loads, lambda block: columns(self.solve, block))


class PathLoads:
    """Loads of a path whose cells are named by their numbers: ``B z = sum_i E_i^T L_i z_i``.

    Args:
        space: The unknowns.
        cells: Cell matrices ``L_i L_i^T`` (n, L, L), never indefinite.

    Raises:
        InputError: A cell matrix is indefinite.

    Collective.
    """

    def __init__(self, space: PathSpace, cells: Array) -> None:
        self._space, self._vector, self._factors = space, space.create(), factors(cells)
        self.width = cells.shape[1]
        self.keys = np.arange(space.first, space.last, dtype=np.uint64)

    def __call__(self, z: Array) -> Array:
        """See :class:`.Loads`."""
        local = self._factors @ z.reshape(len(self.keys), self.width, -1)
        block = np.empty((self._vector.getLocalSize(), local.shape[2]))
        for s in range(local.shape[2]):
            self._space.add(self._vector, (self._space.cell_numbers, local[..., s]))
            block[:, s] = self._vector.array_r
        return block
