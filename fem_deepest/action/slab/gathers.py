"""The weights of a slab, gathered node by node ahead of the sweeps.

The rows of a matrix are dealt out over the data ranks of the slab. A sweep needs all of it, one cell after
the other: the next node is on its way while a cell computes, and what is gathered is kept for both of its
cells and for the sweep back where that follows at once. So a rank holds its own part and a few nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.slab.schedule import Sweep
from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.network.network import Network
from fem_deepest.spaces.grid import deal
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]

GHOST = 31  # tag of the weights that go to the slab before


def nodes_of_cell(abscissae: Sequence[float], cell: int) -> tuple[int, ...]:
    """The nodes whose weights a step needs: the left one, the right one, or both."""
    left, right = any(c != 1.0 for c in abscissae), any(c != 0.0 for c in abscissae)
    return (cell,) * left + (cell + 1,) * right


def kept_nodes(abscissae: Sequence[float]) -> int:
    """Gathered nodes that a rank keeps: those of a cell, and one that is on its way."""
    return len(nodes_of_cell(abscissae, 0)) + 1


class Gathers:
    """The effective stage parameters of a slab's cells, in the order of its sweeps.

    Args:
        network: The network.
        slabs: How it is dealt out.
        traffic: Counts what is sent.

    Cells and nodes are numbered from 0 in the slab; node ``n`` of a slab that is not the last one belongs
    to the next slab. With one data rank there is nothing to gather, and nothing is copied but where the
    effective parameters are others than the stored ones. Collective on the ranks of the slab, and with its
    neighbours: every method.
    """

    def __init__(self, network: Network, slabs: Slabs, traffic: Traffic) -> None:
        self._coupling, self._traffic = network.coupling, traffic
        self._abscissae = network.scheme.abscissae
        grid = slabs.grid
        self._comm, self._depth, self._slabs = grid.data, grid.depth, slabs
        rows, columns = network.coupling.shape
        self._counts = np.diff(deal(rows, grid.data.size)) * columns
        self._own = slabs.share(rows)
        self._shape = rows, columns
        self._cells = len(slabs.cells)
        nodes = {node for i in range(self._cells) for node in nodes_of_cell(self._abscissae, i)}
        self.nodes = len(nodes)
        self.has_ghost = len(slabs.nodes) in nodes
        # Without a gather the effective parameters of all nodes are kept from sweep to sweep.
        self._most = self.nodes if grid.data.size == 1 else kept_nodes(self._abscissae)
        self._free: list[Array] = []
        self._stages: dict[float, tuple[Array, Array]] = {}
        # Effective parameters and the buffer to be used again, the node used last at the end.
        self._held: dict[int, tuple[Array, Array | None]] = {}
        self._waiting: dict[int, tuple[Array, MPI.Request]] = {}

    def begin(self, theta: Array, sweeps: Sequence[Sweep]) -> None:
        """Start an evaluation.

        Args:
            theta: The part of this rank, (own nodes, own rows, columns).
            sweeps: All that is to come.
        """
        self._theta, self._place = theta, 0
        there = [nodes_of_cell(self._abscissae, i) for i in range(self._cells)]
        self._order = [need for s in sweeps for need in (there[::-1] if s.back else there)]
        self._ghost = np.empty((len(self._own) if self.has_ghost else 0, self._shape[1]))
        self._arrives, self._leaves = self._exchange()

    def _exchange(self) -> tuple[MPI.Request, MPI.Request]:
        """The weights of the next slab's first node come; those of this one go to the slab before."""
        arrives = leaves = MPI.REQUEST_NULL
        if self.has_ghost:
            arrives = self._depth.Irecv(self._ghost, self._depth.rank + 1, GHOST)
        if not self._slabs.first and nodes_of_cell(self._abscissae, 0) != (0,):
            first = self._theta[0]
            leaves = self._depth.Isend(first, self._depth.rank - 1, GHOST)
            self._traffic.count("ghosts", first.nbytes)
        return arrives, leaves

    def next(self) -> list[Array]:
        """Stage parameters of the cell that is swept through next, one (rows, columns) for each slot."""
        need = self._order[self._place]
        self._place += 1
        for node in need:
            self._start(node, need)
        nodes = [self._finish(node) for node in need]
        if self._place < len(self._order):
            upcoming = self._order[self._place]
            if self._most < self.nodes and abs(upcoming[0] - need[0]) > 1:
                # A jump: what is held is of no use at the other end of the slab.
                for node in set(self._held) - set(need):
                    self._drop(node)
                upcoming = upcoming[: self._most - len(need)]
            for node in upcoming:
                self._start(node, (*need, *upcoming))
        return self._at_stages(nodes)

    def end(self) -> None:
        """Forget the weights; nothing is left on its way."""
        MPI.Request.Waitall([self._arrives, self._leaves])
        for node in list(self._held):
            self._drop(node)
        self._theta = np.empty((0, *self._shape))  # a view would keep the vector

    def _start(self, node: int, keep: Sequence[int]) -> None:
        """Begin to gather a node, if it is not here or on its way."""
        if node in self._held:
            self._held[node] = self._held.pop(node)
            return
        if node in self._waiting:
            return
        if self._comm.size == 1:
            self._held[node] = self._coupling.effective(self._part(node)), None
            return
        while len(self._held) + len(self._waiting) >= self._most:
            self._drop(next(old for old in self._held if old not in keep))
        target, part = self._free.pop() if self._free else np.empty(self._shape), self._part(node)
        request = self._comm.Iallgatherv(part, [target, self._counts])
        self._traffic.count("gathers", part.nbytes * (self._comm.size - 1), self._comm.size - 1)
        self._waiting[node] = target, request

    def _finish(self, node: int) -> Array:
        if node in self._waiting:
            target, request = self._waiting.pop(node)
            request.Wait()
            effective = self._coupling.effective(target)
            if effective is not target:
                self._free.append(target)
            self._held[node] = effective, target if effective is target else None
        return self._held[node][0]

    def _drop(self, node: int) -> None:
        _, buffer = self._held.pop(node)
        if buffer is not None:
            self._free.append(buffer)

    def _part(self, node: int) -> Array:
        """The rows of this rank at a node."""
        if node < len(self._theta):
            return self._theta[node]
        self._arrives.Wait()
        return self._ghost

    def _at_stages(self, nodes: list[Array]) -> list[Array]:
        """P1 in the cell: ``(1 - c) left + c right``."""
        left, right = nodes[0], nodes[-1]
        stages = []
        for c in self._abscissae:
            if c in (0.0, 1.0):
                stages.append(right if c else left)
                continue
            if c not in self._stages:
                self._stages[c] = np.empty(self._shape), np.empty(self._shape)
            out, work = self._stages[c]
            np.multiply(left, 1.0 - c, out=out)
            np.multiply(right, c, out=work)
            out += work
            stages.append(out)
        return stages
