"""A neuron index that is spread over ranks: each has O(N/P) nodes, of its part of a DOLFINx mesh.

The nodes have the numbers that they have on one rank (see :class:`.IndexField`); a rank owns some of
them, in increasing order, and its arrays are fields over these. Matrices have the owned rows, and a
column for every node they reach: the owned ones, then the ghosts. Results are those of one rank up to
the order of sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest import _compat
from fem_deepest.errors import InputError
from fem_deepest.spaces.domain import create_domain, read_domain
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.ghosts import Ghosts
from fem_deepest.spaces.index_field import IndexField
from fem_deepest.spaces.index_space import IndexSpace
from fem_deepest.spaces.neurons import NeuronSpace

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


class SpreadSpace(NeuronSpace):
    """P1 with lumped mass over a mesh whose nodes are dealt out over ranks.

    Made by :meth:`over_interval`, :meth:`over_rectangle` and :meth:`over_mesh`. What a
    :class:`.NeuronSpace` says about its nodes, this one says about those of this rank; matrices of
    :meth:`operator` are (owned, local), see :class:`SpreadField`.

    Args:
        field: The scalar space.
        kind: "interval", "rectangle" or "mesh".
        channels: Fields side by side.

    Attributes:
        comm: Ranks that share the index.
        number: Number of the nodes on one rank, (nodes,), increasing.
        size: Nodes of all ranks.

    Collective on ``comm``: the construction and every method.
    """

    comm: MPI.Intracomm

    def __init__(self, field: SpreadField, kind: str, channels: int = 1) -> None:
        super().__init__(
            field.ghosts.owned, channels, kind=kind, element="P1", create=lambda _: field
        )
        self.comm, self.number, self.size = field.domain.comm, field.number, field.size

    @classmethod
    def over_interval(
        cls, comm: MPI.Intracomm, nodes: int, extent: float = 1.0, channels: int = 1
    ) -> SpreadSpace:
        """As :meth:`.NeuronSpace.interval` with P1, on the ranks of ``comm``.

        Raises:
            InputError: There are fewer cells than ranks.
        """

        def number(x: Array) -> Integers:
            return np.rint(x[:, 0] * ((nodes - 1) / extent)).astype(np.int64)

        domain = create_domain(comm, [extent], [nodes - 1])
        return cls(SpreadField(domain, number), "interval", channels)

    @classmethod
    def over_rectangle(
        cls,
        comm: MPI.Intracomm,
        shape: Sequence[int],
        extent: Sequence[float] = (1.0, 1.0),
        channels: int = 1,
    ) -> SpreadSpace:
        """As :meth:`.NeuronSpace.rectangle` with bilinear elements, on the ranks of ``comm``.

        Raises:
            InputError: There are fewer cells than ranks.
        """
        (down, across), (height, width) = shape, extent

        def number(x: Array) -> Integers:
            row = np.rint((height - x[:, 1]) * ((down - 1) / height))
            column = np.rint(x[:, 0] * ((across - 1) / width))
            return (row * across + column).astype(np.int64)

        domain = create_domain(comm, [width, height], [across - 1, down - 1], tensor=True)
        return cls(SpreadField(domain, number), "rectangle", channels)

    @classmethod
    def over_mesh(
        cls, comm: MPI.Intracomm, source: str | Path | Any, channels: int = 1
    ) -> SpreadSpace:
        """As :meth:`.NeuronSpace.mesh` with P1, on the ranks of ``comm``.

        Args:
            comm: Ranks that share the index.
            source: ``.msh`` or ``.xdmf`` file, or a mesh on ``comm``.
            channels: Fields side by side.

        Raises:
            InputError: There is no such mesh, or it is curved or no interval or plane.
        """
        domain: Any = read_domain(comm, source) if isinstance(source, str | Path) else source
        dimension, cells = domain.geometry.dim, domain.topology.dim
        degree = domain.ufl_domain().ufl_coordinate_element().embedded_superdegree
        if dimension > 2 or dimension != cells or degree > (2 if cells == 2 else 1):
            raise InputError(
                f"the mesh of the neuron index has cells of dimension {cells} in {dimension}D and "
                f"degree {degree}; expected straight intervals on the line or cells in the plane"
            )
        return cls(SpreadField(domain), "mesh", channels)

    @property
    def all_neurons(self) -> int:
        """``N``, those of other ranks too."""
        return self.channels * self.size

    @property
    def states(self) -> Integers:
        """Numbers of the neurons of this rank on one rank, (N,), channel by channel."""
        return (np.arange(self.channels)[:, None] * self.size + self.number).ravel()

    @property
    def ghosts(self) -> Ghosts:
        """Exchange of ghosts of one channel."""
        field = self.field
        assert isinstance(field, SpreadField)
        return field.ghosts

    @cached_property
    def factor(self) -> Factor:
        """``M_S`` and ``K_S`` of this rank's nodes, the channels side by side."""
        return Factor.sum([SpreadFactor(self)] * self.channels)

    def prolongation(self, finer: IndexSpace) -> sparse.csr_matrix:
        """The identity to a space with the same nodes.

        Raises:
            InputError: The nodes differ.
        """
        same = isinstance(finer, SpreadSpace) and self.size == finer.size
        if not same or self.neurons != finer.neurons:
            raise InputError(
                "a neuron index that is spread over ranks cannot be refined; refine the depth alone, or "
                "take an index that is not spread"
            )
        return sparse.identity(self.neurons, format="csr")

    def own(self, field: Array, axis: int = 0) -> Array:
        """This rank's part of a field over all nodes, along an axis. Not collective."""
        return np.take(field, self.number, axis=axis)

    def gather(self, field: Array, axis: int = 0) -> Array:
        """The field over all nodes, on every rank, of this rank's part of it."""
        first = np.ascontiguousarray(np.moveaxis(field, axis, 0))
        parts = self.comm.allgather((self.number, first))
        whole = np.empty((self.size, *first.shape[1:]), first.dtype)
        for number, values in parts:
            whole[number] = values
        return np.moveaxis(whole, 0, axis)


class SpreadFactor(Factor):
    """``M`` and ``K`` of the nodes of a rank.

    Args:
        space: The index; of one channel.

    Collective on the ranks of the index: :meth:`apply_stiffness`.
    """

    shared = True

    def __init__(self, space: SpreadSpace) -> None:
        super().__init__(space.node_weights, lambda: space.field.stiffness)
        self.ghosts = space.ghosts

    def apply_stiffness(self, a: Array, axis: int) -> Array:
        """``K a`` along an axis, a new array."""
        first = np.moveaxis(a, axis, 0)
        x = np.empty((self.ghosts.local, first[0].size))
        x[: self.size] = first.reshape(self.size, -1)
        self.ghosts.fill(x)
        return np.moveaxis((self.stiffness @ x).reshape(first.shape), 0, axis)

    @property
    def modes(self) -> tuple[Array, Array]:  # type: ignore[override]
        """None: eigenvectors of the index are dense.

        Raises:
            InputError: Always.
        """
        raise InputError(
            "the eigenvectors of a neuron index that is spread over ranks were asked for, but they are a "
            "dense matrix; take an index that is not spread"
        )


def _packed(comm: MPI.Intracomm, name: Integers, size: int) -> Integers:
    """The place of each name among those of all ranks; names of points without cells are gaps."""
    last = comm.allreduce(int(name.max(initial=-1)), op=MPI.MAX)
    if last + 1 == size:
        return name
    taken = np.zeros(last + 1, np.int8)
    taken[name] = 1
    comm.Allreduce(MPI.IN_PLACE, taken, op=MPI.MAX)
    return np.cumsum(taken, dtype=np.int64)[name] - 1
