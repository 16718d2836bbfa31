"""Vectors in an order that does not depend on the ranks: from one layout of the unknowns to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc

Integers = NDArray[np.int64]


class CommonOrder:
    """Where the entries of a vector are in the same vector on one rank.

    Args:
        template: A vector of the layout; it is kept.
        entries: Number on one rank of every entry of this rank.

    Attributes:
        entries: These numbers.
        size: Entries of all ranks.

    Collective on the ranks of the vector: the construction and every method.
    """

    def __init__(self, template: PETSc.Vec, entries: Integers) -> None:
        self._template, self.entries = template, entries
        self.size: int = template.getSize()

    def gather(self, u: PETSc.Vec) -> NDArray[np.float64]:
        """The entries of ``u`` in the common order, all of them on every rank."""
        v = self.common(u)
        parts = v.getComm().tompi4py().allgather(v.array_r.copy())
        v.destroy()
        return np.concatenate(parts)

    def create(self) -> PETSc.Vec:
        """Zero vector in the common order."""
        return PETSc.Vec().createMPI((PETSc.DECIDE, self.size), comm=self._template.getComm())

    def common(self, u: PETSc.Vec) -> PETSc.Vec:
        """New vector in the common order with the entries of ``u``."""
        v = self.create()
        self._scatter(u, v, reverse=False)
        return v

    def control(self, v: PETSc.Vec) -> PETSc.Vec:
        """New vector of the layout, the inverse of :meth:`common`."""
        u = self._template.duplicate()
        self._scatter(u, v, reverse=True)
        return u

    def _scatter(self, u: PETSc.Vec, v: PETSc.Vec, reverse: bool) -> None:
        comm = self._template.getComm()
        places = PETSc.IS().createGeneral(self.entries.astype(PETSc.IntType), comm=comm)
        first, last = self._template.getOwnershipRange()
        mine = PETSc.IS().createStride(last - first, first, 1, comm=comm)
        scatter = PETSc.Scatter().create(u, mine, v, places)
        if reverse:
            scatter.scatter(v, u, mode=PETSc.ScatterMode.REVERSE)
        else:
            scatter.scatter(u, v)
        for used in (scatter, mine, places):
            used.destroy()
