"""The gradients of a slab's weights, summed over its data ranks node by node behind the sweeps.

Every data rank has the sum over its own samples of all rows, and gets the sum over all samples of its own
rows. Each sends the others their rows and adds up what it gets, in the order of the ranks: what a
reduce-scatter does, but with the bits fixed, and no more sent than there has to be. A sum is on its way
while the next cell computes.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.slab.gathers import nodes_of_cell
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.network.network import Network
from fem_deepest.spaces.grid import deal
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]

GHOST = 32  # tag of the gradients that go to the next slab


class Reductions:
    """From the gradients in the stage parameters of cells to those of the stored ones at the nodes.

    Args:
        network: The network.
        slabs: How it is dealt out.
        traffic: Counts what is sent.

    Cells come in descending order, chunk after chunk. With one data rank nothing is sent, and sums over
    chunks are made in place. Collective on the ranks of the slab, and with its neighbours: every method.
    """

    def __init__(self, network: Network, slabs: Slabs, traffic: Traffic) -> None:
        self._coupling, self._traffic = network.coupling, traffic
        self._abscissae = network.scheme.abscissae
        grid = slabs.grid
        self._comm, self._depth, self._slabs = grid.data, grid.depth, slabs
        self._cells = len(slabs.cells)
        # One slot at the left node: its gradient is that of the node.
        self._direct = self._abscissae == (0.0,)
        shape = rows, columns = network.coupling.shape
        edges = columns * np.array(deal(rows, grid.data.size))
        self._counts, self._places = np.diff(edges), edges[:-1]
        self._own = len(slabs.share(rows)), columns
        several = grid.data.size > 1
        self._buffers: list[Array] = [np.empty(shape) for _ in range(2 * several)]
        self._received = np.empty((grid.data.size * several, *self._own))
        self._stages: list[Array] = [np.empty(shape) for _ in self._abscissae if not self._direct]
        self._work = np.empty(shape if self._stages else (0, 0))
        last = nodes_of_cell(self._abscissae, self._cells - 1)[-1]
        self._ghost = np.empty((int(last >= len(slabs.nodes)), *self._own))
        self._comes = np.empty((int(not slabs.first and not self._direct), *self._own))
        self._on_its_way: tuple[int, Array, MPI.Request] | None = None

    def begin(self, out: Array) -> None:
        """Start an evaluation.

        Args:
            out: Receives the gradient of this rank's part, (own nodes, own rows, columns).
        """
        self._parts = [*out, *self._ghost]
        self._seen: set[int] = set()  # nodes whose part is no longer what it was before
        self._open: dict[int, Array] = {}  # nodes of which one cell may still be missing
        self._arrives = MPI.REQUEST_NULL
        if len(self._comes):
            self._arrives = self._depth.Irecv(self._comes, self._depth.rank - 1, GHOST)

    def target(self, cell: int) -> tuple[list[Array], bool]:
        """Where the gradient in the stage parameters of a cell goes, and whether to write over it."""
        if not self._direct:
            return self._stages, True
        total, fresh = self._total(cell)
        return [total], fresh

    def done(self, cell: int) -> None:
        """The gradient of a cell is in its target: add it to its nodes, send those that are complete."""
        nodes = nodes_of_cell(self._abscissae, cell)
        if not self._direct:
            for node in nodes:
                self._add(node, node - cell)
        for node in reversed(nodes):
            if node > cell or cell == 0 or self._direct:
                self._complete(node)

    def end(self) -> None:
        """All chunks are through: the gradient is complete."""
        self._receive()
        for node, part in enumerate(self._parts):
            if node not in self._seen:
                part[...] = 0.0
            elif self._comm.size == 1:
                self._coupling.effective_transposed(part)
        leaves = MPI.REQUEST_NULL
        if len(self._ghost):
            leaves = self._depth.Isend(self._ghost, self._depth.rank + 1, GHOST)
            self._traffic.count("ghosts", self._ghost.nbytes)
        self._arrives.Wait()
        for theirs in self._comes:
            self._parts[0] += theirs
        leaves.Wait()
        self._parts = []  # views would keep the vector

    def _total(self, node: int) -> tuple[Array, bool]:
        """The sum of this rank's chunk at a node, or of all its chunks, and whether it is to begin."""
        if node in self._open:
            return self._open[node], False
        if self._comm.size == 1:
            total, fresh = self._parts[node], node not in self._seen
            self._seen.add(node)
        else:
            if not self._buffers:
                self._receive()
            total, fresh = self._buffers.pop(), True
        self._open[node] = total
        return total, fresh

    def _add(self, node: int, side: int) -> None:
        """Transpose of the P1 interpolation in the cell, to its left (0) or right (1) node."""
        total, fresh = self._total(node)
        for c, stage in zip(self._abscissae, self._stages, strict=True):
            weight = c if side else 1.0 - c
            if not weight:
                continue
            if fresh:
                np.multiply(stage, weight, out=total)
                fresh = False
            elif weight == 1.0:
                total += stage
            else:
                np.multiply(stage, weight, out=self._work)
                total += self._work

    def _complete(self, node: int) -> None:
        """Start the sum over the ranks."""
        total = self._open.pop(node)
        if self._comm.size == 1:
            return
        self._coupling.effective_transposed(total)
        self._receive()
        size = self._received[0].size
        request = self._comm.Ialltoallv(
            [total, self._counts, self._places, MPI.DOUBLE],
            [self._received, [size] * self._comm.size, None, MPI.DOUBLE],
        )
        self._traffic.count("reductions", total.nbytes - 8 * size, self._comm.size - 1)
        self._on_its_way = node, total, request

    def _receive(self) -> None:
        """Finish the sum over the ranks that is on its way."""
        if self._on_its_way is None:
            return
        node, buffer, request = self._on_its_way
        self._on_its_way = None
        request.Wait()
        self._buffers.append(buffer)
        if node in self._seen:
            self._parts[node] += self._received.sum(axis=0)
        else:
            np.sum(self._received, axis=0, out=self._parts[node])
            self._seen.add(node)
