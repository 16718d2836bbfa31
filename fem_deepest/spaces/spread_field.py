"""P1 on a mesh that is distributed over ranks: matrices of owned rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest import _compat
from fem_deepest.errors import InputError
from fem_deepest.spaces.ghosts import Ghosts
from fem_deepest.spaces.index_field import IndexField

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class SpreadField(IndexField):
    """P1 on a distributed mesh: its nodes, and matrices of owned rows.

    Args:
        domain: Mesh on the ranks of the index.
        number: Gives the numbers of nodes from their coordinates (m, d); by default those of the file.

    Attributes:
        domain: The mesh.
        degree: 1.
        V: The DOLFINx space.
        dofs: ``dofs[i]`` is the dof of the owned node ``i``.
        number: Number of the owned nodes on one rank, increasing.
        size: Nodes of all ranks.
        coordinates: Of the owned nodes, (owned, geometric dimension).
        ghosts: Exchange of ghosts.

    Collective on the ranks of the mesh: the construction and every method.
    """

    def __init__(self, domain: Any, number: Callable[[Array], Integers] | None = None) -> None:
        self.domain, self.degree = domain, 1
        self.V = fem.functionspace(domain, ("Lagrange", 1))
        rows, d = self.V.dofmap.index_map, domain.geometry.dim
        owned, self.size = rows.size_local, int(rows.size_global)
        x = self.V.tabulate_dof_coordinates()[:, :d]
        if number is not None:
            name = number(x[:owned])
        else:
            vertices = _compat.geometry_dofmap(domain)
            named = np.empty(len(x), np.int64)
            named[np.asarray(self.V.dofmap.list)] = domain.geometry.input_global_indices[vertices]
            name = _packed(domain.comm, named[:owned], self.size)
        self.dofs: Integers = np.argsort(name)
        self.number: Integers = name[self.dofs]
        self.coordinates: Array = x[self.dofs]
        place = np.empty_like(self.dofs)
        place[self.dofs] = np.arange(owned)
        u, v = ufl.TrialFunction(self.V), ufl.TestFunction(self.V)
        mass, columns = self._assembled(ufl.inner(u, v) * ufl.dx)
        first, last = rows.local_range
        self._wanted = np.unique(columns[(columns < first) | (columns >= last)])
        starts = np.array([*domain.comm.allgather(first), self.size])
        self.ghosts = Ghosts(domain.comm, self._wanted, starts, place)
        self._place = place
        self.mass = self._ordered(mass, columns)

    def matrix(self, form: ufl.Form) -> sparse.csr_matrix:
        """The owned rows of a bilinear form, (owned, local)."""
        return self._ordered(*self._assembled(form))

    @cached_property
    def cell_nodes(self) -> Integers:  # type: ignore[override]
        """Nodes of every cell, ghosts too, (cells, nodes of a cell)."""
        rows = self.V.dofmap.index_map
        dofs = np.arange(rows.size_local + rows.num_ghosts, dtype=np.int32)
        return self._where(rows.local_to_global(dofs))[np.asarray(self.V.dofmap.list)]

    @cached_property
    def box(self) -> tuple[Array, Array]:  # type: ignore[override]
        """Lower left and upper right corner of the box around the mesh."""
        low, high = super().box
        comm = self.domain.comm
        comm.Allreduce(MPI.IN_PLACE, low, op=MPI.MIN)
        comm.Allreduce(MPI.IN_PLACE, high, op=MPI.MAX)
        return low, high

    def summed(self, values: Array) -> Array:
        """The sum of integrals over the cells of all ranks."""
        out = np.empty_like(values)
        self.domain.comm.Allreduce(values, out, op=MPI.SUM)
        return out

    def completed(self, B: sparse.csr_matrix) -> sparse.csr_matrix:
        """Integrals (m, owned) of all cells at the nodes, from those of the own cells."""
        x = np.zeros((self.ghosts.local, B.shape[0]))
        x[: B.shape[1]] = B.toarray().T
        self.ghosts.add(x)
        return sparse.csr_matrix(x[: self.ghosts.owned].T)

    def evaluate(self, points: Array) -> sparse.csr_matrix:
        """Values between the nodes are not there.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "a field over a neuron index that is spread over ranks cannot be interpolated; gather it to "
            "an index that is not spread"
        )

    def _assembled(self, form: ufl.Form) -> tuple[sparse.csr_matrix, Integers]:
        """Owned rows in the order of DOLFINx, and the global number of every column."""
        matrix = fem.assemble_matrix(fem.form(form, jit_options=_compat.JIT_OPTIONS))
        matrix.scatter_reverse()
        columns = matrix.index_map(1)
        count = columns.size_local + columns.num_ghosts
        return matrix.to_scipy().tocsr(), columns.local_to_global(np.arange(count, dtype=np.int32))

    def _ordered(self, matrix: sparse.csr_matrix, columns: Integers) -> sparse.csr_matrix:
        rows = matrix[self.dofs].tocoo()
        entries = rows.data, (rows.row, self._where(columns)[rows.col])
        return sparse.csr_matrix(entries, shape=(self.ghosts.owned, self.ghosts.local))

    def _where(self, numbers: Integers) -> Integers:
        """Local nodes of DOLFINx' numbers on all ranks."""
        first, last = self.V.dofmap.index_map.local_range
        own = (numbers >= first) & (numbers < last)
        where = np.searchsorted(self._wanted, numbers) + self.ghosts.owned
        where[own] = self._place[numbers[own] - first]
        return where


def _packed(comm: MPI.Intracomm, name: Integers, size: int) -> Integers:
    """The place of each name among those of all ranks; names of points without cells are gaps."""
    last = comm.allreduce(int(name.max(initial=-1)), op=MPI.MAX)
    if last + 1 == size:
        return name
    taken = np.zeros(last + 1, np.int8)
    taken[name] = 1
    comm.Allreduce(MPI.IN_PLACE, taken, op=MPI.MAX)
    return np.cumsum(taken, dtype=np.int64)[name] - 1
