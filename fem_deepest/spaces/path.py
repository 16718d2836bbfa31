"""The unknowns of one path as one distributed PETSc vector, numbered from one end to the other.

A cell ``i`` brings its left node ``x_i``, its weights ``w_i`` where they vary in depth, one vector for
each of its defects (a costate ``p`` or a forcing ``xi``), and its inner nodes; the last node follows,
and weights that are constant in depth come last. Ranks own contiguous slabs of cells, so an assembled
system is banded in depth, with a border for constant weights.

    cell i:  x_i | w_i | p_i (R D) | inner nodes        end:  x_n | w_n | w

Clamped entries have the number -1, and on a closed path the last node has the numbers of the first:
end conditions are nothing but a numbering.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


class PathSpace:
    """Numbering, ownership and local values of the unknowns of a path.

    Args:
        comm: Communicator; ranks own slabs of cells.
        cells: ``n``.
        nodes: Nodes of a cell ``A``, both ends included.
        states: ``D``.
        parameters: ``P``.
        varying: Whether the weights are P1 in depth.
        free: Which entries of the nodes are unknown, (n (A - 1) + 1, D).
        duals: Which entries of the vectors of a cell are unknown, (R, D); R = 0 without any.
        closed: Whether the last node is the first one.

    Attributes:
        first, last: The cells of this rank are ``first <= i < last``.
        cell_numbers: Numbers of the local unknowns ``(x_0, .., x_{A-1}, w, p)`` of this rank's cells.
        local: Their count.
        size: Number of all unknowns.
        x, w, p: Numbers of all nodes (m, D), of the weights (P,) or (n + 1, P), and of the vectors
            of the cells (n, R, D); -1 where there is no unknown.

    Raises:
        InputError: More ranks than cells.

    Collective.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        cells: int,
        nodes: int,
        states: int,
        parameters: int,
        *,
        varying: bool,
        free: NDArray[np.bool_],
        duals: NDArray[np.bool_],
        closed: bool = False,
    ) -> None:
        if comm.size > cells:
            raise InputError(
                f"{comm.size} ranks for a path of {cells} cells; start at most {cells} ranks"
            )
        self.comm, self.cells, self.varying, self.closed = comm, cells, varying, closed
        inner, fields = nodes - 2, parameters if varying else 0
        width = states + fields + duals.size + inner * states
        tail = states + parameters
        exists = np.ones(cells * width + tail, dtype=bool)
        blocks = exists[: cells * width].reshape(cells, width)
        cuts = np.cumsum([states, fields, duals.size])
        blocks[:, : cuts[0]] = free[:-1].reshape(cells, nodes - 1, states)[:, 0]
        blocks[:, cuts[1] : cuts[2]] = duals.ravel()
        blocks[:, cuts[2] :] = free[:-1].reshape(cells, nodes - 1, states)[:, 1:].reshape(cells, -1)
        exists[cells * width : cells * width + states] = free[-1] & (not closed)
        numbers = np.where(exists, np.cumsum(exists) - 1, -1)
        self.size = int(exists.sum())

        block, end = numbers[: cells * width].reshape(cells, width), numbers[cells * width :]
        x = np.concatenate([block[:, : cuts[0]], block[:, cuts[2] :]], axis=1).reshape(-1, states)
        self.x = np.concatenate([x, x[:1] if closed else end[None, :states]])
        weights = np.concatenate([block[:, cuts[0] : cuts[1]], end[None, states : states + fields]])
        self.w = weights if varying else end[states:]
        self.p = block[:, cuts[1] : cuts[2]].reshape(cells, *duals.shape)

        share, more = divmod(cells, comm.size)
        starts = np.arange(comm.size + 1) * share + np.minimum(np.arange(comm.size + 1), more)
        self.first, self.last = int(starts[comm.rank]), int(starts[comm.rank + 1])
        owned = np.concatenate([[0], np.cumsum(exists)])[starts * width]
        owned[-1] = self.size
        self.begin, self.end = int(owned[comm.rank]), int(owned[comm.rank + 1])

        mine = np.arange(self.first, self.last)
        span = nodes - 1
        by_node = self.x[span * mine[:, None] + np.arange(nodes)].reshape(mine.size, -1)
        pair = np.concatenate([self.w[mine], self.w[mine + 1]], axis=1) if varying else None
        by_cell = np.tile(self.w, (mine.size, 1)) if pair is None else pair
        self.cell_numbers = np.concatenate(
            [by_node, by_cell, self.p[mine].reshape(mine.size, -1)], axis=1
        )
        self.local = self.cell_numbers.shape[1]
        self.slab_x = slice(span * self.first, span * self.last + 1)
        self._needed = np.unique(self.cell_numbers[self.cell_numbers >= 0])
        self._sequential = PETSc.Vec().createSeq(self._needed.size, comm=MPI.COMM_SELF)
        places = PETSc.IS().createGeneral(self._needed.astype(PETSc.IntType), comm=comm)
        self._scatter = PETSc.Scatter().create(self.create(), places, self._sequential, None)
        places.destroy()

    def create(self) -> PETSc.Vec:
        """Zero vector. Collective."""
        return PETSc.Vec().createMPI((self.end - self.begin, self.size), comm=self.comm)

    def gather(self, u: PETSc.Vec) -> Array:
        """The entries of ``u`` that this rank's cells see; :meth:`at` finds them. Collective."""
        self._scatter.scatter(u, self._sequential, addv=False, mode=PETSc.ScatterMode.FORWARD)
        return self._sequential.array_r.copy()

    def at(self, values: Array, numbers: Numbers) -> Array:
        """Gathered ``values`` at ``numbers``, zero where an entry is no unknown."""
        places = np.searchsorted(self._needed, numbers)
        return np.where(numbers < 0, 0.0, values[np.minimum(places, values.size - 1)])

    def add(self, g: PETSc.Vec, *parts: tuple[Numbers, Array]) -> None:
        """``g = `` the sum of local dual values at their numbers, over all ranks. Collective."""
        numbers = np.concatenate([n.ravel() for n, _ in parts])
        values = np.concatenate([v.ravel() for _, v in parts])
        kept = numbers >= 0
        places = np.searchsorted(self._needed, numbers[kept])
        self._sequential.array_w[...] = np.bincount(places, values[kept], self._needed.size)
        g.set(0.0)
        self._scatter.scatter(self._sequential, g, addv=True, mode=PETSc.ScatterMode.REVERSE)
