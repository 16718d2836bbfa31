"""How a network is dealt out on a process grid: cells and nodes in slabs, rows and samples within a slab.

Slab ``s`` of ``P_t`` has the cells ``n s / P_t <= i < n (s + 1) / P_t`` of the depth (rounded down) and
their left nodes; the last slab has the node ``n`` too. What a slab has at a node are the rows of a matrix,
which its ``P_d`` data ranks share in the same way: rank ``r`` has the rows from ``R r / P_d`` on. Samples
likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.spaces.grid import ProcessGrid, deal, own_part

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slabs:
    """The parts of the depth and of rows that belong to the ranks of a grid.

    Attributes:
        grid: Process grid.
        count: Cells ``n`` of the depth.

    Raises:
        InputError: There are more slabs than cells, or the grid is one of a neuron index in parts.

    Nothing here is collective.
    """

    grid: ProcessGrid
    count: int

    def __post_init__(self) -> None:
        slabs = self.grid.depth.size
        if self.grid.index.size > 1:
            raise InputError(
                f"sharded weights were asked for on a neuron index in {self.grid.index.size} parts, "
                "expected one that every rank has as a whole; take an index that is not spread"
            )
        if slabs > self.count:
            raise InputError(
                f"{slabs} slabs were asked for of a depth of {self.count} cells, expected at least one "
                f"cell in each; take a grid of at most {self.count} ranks in depth, or a coarsest level "
                "of more cells"
            )

    @property
    def first(self) -> bool:
        """Whether this is the slab of the input, which has the lift."""
        return self.grid.depth.rank == 0

    @property
    def last(self) -> bool:
        """Whether this is the slab of the output, which has the readout."""
        return self.grid.depth.rank == self.grid.depth.size - 1

    @property
    def cells(self) -> range:
        """Cells of this slab."""
        return self.cells_of(self.grid.depth.rank)

    @property
    def nodes(self) -> range:
        """Nodes of this slab."""
        return self.nodes_of(self.grid.depth.rank)

    def cells_of(self, slab: int) -> range:
        """Cells of any slab."""
        edges = deal(self.count, self.grid.depth.size)
        return range(edges[slab], edges[slab + 1])

    def nodes_of(self, slab: int) -> range:
        """Nodes of any slab."""
        cells = self.cells_of(slab)
        return range(cells.start, cells.stop + (slab == self.grid.depth.size - 1))

    @property
    def node_edges(self) -> list[int]:
        """First node of each slab, and the number of all."""
        slabs = range(self.grid.depth.size)
        return [*(self.nodes_of(slab).start for slab in slabs), self.count + 1]

    def share(self, count: int) -> range:
        """This data rank's part of so many rows, or of so many samples."""
        return own_part(count, self.grid.data)


def all_rows(comm: MPI.Intracomm, own: Array, count: int) -> Array:
    """All rows (count, ...) of an array of which every rank has its part; ``own`` itself on one rank.

    Collective on ``comm``.
    """
    if comm.size == 1:
        return own
    whole = np.empty((count, *own.shape[1:]))
    counts = np.diff(deal(count, comm.size)) * prod(own.shape[1:])
    comm.Allgatherv(np.ascontiguousarray(own), [whole, counts])
    return whole
