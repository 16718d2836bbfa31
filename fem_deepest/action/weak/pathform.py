"""What the forms of the weak-constraint problem share: unknowns on slabs of cells, and sums over them."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.free_motion import AssembledRiesz, free_motion
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.errors import InputError
from fem_deepest.spaces.assembly import CellMatrix
from fem_deepest.spaces.path import PathSpace

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


class PathForm:
    """The unknowns of one form of a problem: nodes, weights and vectors of the cells.

    Args:
        problem: The problem.
        comm: Communicator; ranks own slabs of cells.
        duals: Which entries of the vectors of a cell are unknown, (R, D); R = 0 without any.
        swept: Whether the first node is the only one that is unknown.

    Attributes:
        problem: The problem.
        space: Layout of ``u``.
        slab: The terms of this rank's cells.
        parts: Terms at the last evaluation: measurement, ends, prior, model.
    """

    def __init__(
        self,
        problem: WeakProblem,
        comm: MPI.Intracomm,
        duals: NDArray[np.bool_],
        swept: bool = False,
    ) -> None:
        self.problem, self.comm = problem, comm
        fixed = problem.fixed
        self._fixed = np.nan_to_num(fixed)
        free = np.isnan(fixed)
        if swept:
            free[1:] = False
        self.space = PathSpace(
            comm,
            problem.cells,
            problem.transcription.nodes.size,
            problem.states,
            problem.parameters,
            varying=problem.varying,
            free=free,
            duals=duals,
            closed=problem.conditions.periodic,
        )
        self.slab = problem.slab(self.space.first, self.space.last)
        self.parts: dict[str, float] = {}
        first, last = self.space.first, self.space.last
        self._x = self.space.x[self.space.slab_x]
        self._w = self.space.w[first : last + 1] if problem.varying else self.space.w
        self._p = self.space.p[first:last]

    def create(self) -> PETSc.Vec:
        """Zero vector. Collective."""
        return self.space.create()

    def local(self, u: PETSc.Vec) -> tuple[Array, Array, Array]:
        """Nodes (m, D), weights and vectors (n, R, D) of the slab's cells. Collective."""
        values, space = self.space.gather(u), self.space
        x = space.at(values, self._x) + self._fixed[space.slab_x]
        return x, space.at(values, self._w), space.at(values, self._p)

    def everywhere(self, u: PETSc.Vec) -> tuple[Array, Array, Array]:
        """Nodes (m, D), weights and vectors (n, R, D) of all cells, on every rank. Collective."""
        values = np.append(np.concatenate(self.comm.allgather(u.array_r.copy())), 0.0)
        space = self.space
        return values[space.x] + self._fixed, values[space.w], values[space.p]

    def fill(self, u: PETSc.Vec, *parts: tuple[Numbers, Array]) -> PETSc.Vec:
        """Write arrays that are the same on every rank at their numbers, -1 skipped.

        Raises:
            InputError: An array has another shape than its numbers.
        """
        begin, array = self.space.begin, u.array_w
        for numbers, values in parts:
            if values.shape != numbers.shape:
                raise InputError(
                    f"a path got values of shape {values.shape}, expected {numbers.shape}"
                )
            mine = (numbers >= begin) & (numbers < self.space.end)
            array[numbers[mine] - begin] = values[mine]
        return u

    def total(self, terms: dict[str, float]) -> float:
        """Terms added over the ranks, kept as ``parts``; their sum. Collective."""
        summed = np.array(list(terms.values()))
        self.comm.Allreduce(MPI.IN_PLACE, summed)
        self.parts = dict(zip(terms, map(float, summed), strict=True))
        return sum(self.parts.values())


class CellForm(PathForm, ABC):
    """A form that is a sum over the cells, with assembled derivatives.

    Attributes:
        negative: Negative eigenvalues of the Hessian at a minimiser of the action.
    """

    def __init__(self, problem: WeakProblem, comm: MPI.Intracomm, duals: NDArray[np.bool_]) -> None:
        super().__init__(problem, comm, duals)
        self.negative = int(np.count_nonzero(self.space.p >= 0))
        self._riesz: AssembledRiesz | None = None
        self._last: tuple[Array, Array] | None = None
        self._assembled: CellMatrix | None = None

    @property
    def metric(self) -> AssembledRiesz:
        """Hessian of the action of a free motion, ``F = 0``; ``h omega`` on the momenta.

        Collective at the first use, which factors it.
        """
        if self._riesz is None:
            primal = free_motion(self.slab)
            cells = np.zeros((len(primal), self.space.local, self.space.local))
            cut, i = primal.shape[1], np.arange(primal.shape[1], self.space.local)
            cells[:, :cut, :cut] = primal
            if i.size:
                weight = np.broadcast_to(self.slab.weight, self._p.shape)
                cells[:, i, i] = weight.reshape(len(cells), -1)
            self._riesz = AssembledRiesz(self.space, cells)
        return self._riesz

    @abstractmethod
    def elements(self, u: PETSc.Vec, curvature: float = 1.0) -> Array:
        """Cell matrices (n, L, L) of the Hessian; ``curvature`` scales ``d''``. Collective."""

    def second_variation(self, u: PETSc.Vec) -> PETSc.Mat:
        """``A''(u)`` as a sparse matrix, banded in depth; the next call overwrites it. Collective."""
        if self._assembled is None:
            self._assembled = CellMatrix(self.space)
        self._assembled.assemble(self.elements(u))
        return self._assembled.mat

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d``. Collective."""
        space, values = self.space, self.space.gather(u)
        # Eigenvalue and Krylov solvers ask for many products at the same point.
        same = self._last is not None and np.array_equal(values, self._last[0])
        if not self.comm.allreduce(same, MPI.LAND) or self._last is None:
            self._last = values, self.elements(u)
        local = space.at(space.gather(d), space.cell_numbers)
        product = (self._last[1] @ local[..., None])[..., 0]
        space.add(r, (space.cell_numbers, product))
