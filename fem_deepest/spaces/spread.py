"""A neuron index that is spread over ranks: each has O(N/P) nodes, of its part of a DOLFINx mesh.

The nodes have the numbers that they have on one rank (see :class:`.IndexField`); a rank owns some of
them, in increasing order, and its arrays are fields over these. Matrices have the owned rows, and a
column for every node they reach: the owned ones, then the ghosts. Results are those of one rank up to
the order of sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.spaces.domain import create_domain, read_domain
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.ghosts import Ghosts
from fem_deepest.spaces.index_space import IndexSpace
from fem_deepest.spaces.neurons import NeuronSpace
from fem_deepest.spaces.spread_field import SpreadField

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


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
