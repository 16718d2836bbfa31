"""Lift and readout of a slab: dealt out by rows, put together for an evaluation, summed after it."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.slab.traffic import Traffic
from fem_deepest.spaces.grid import deal
from fem_deepest.spaces.slabs import Slabs, all_rows

Array = NDArray[np.float64]


class Rows:
    """A matrix (rows, columns) whose rows are dealt out over the data ranks of a slab.

    Args:
        slabs: How they are dealt out.
        shape: Of the whole matrix; without entries nothing is sent.
        traffic: Counts what is sent.

    Collective on the ranks of the slab: every method.
    """

    def __init__(self, slabs: Slabs, shape: tuple[int, int], traffic: Traffic) -> None:
        self._comm, self._traffic, self._shape = slabs.grid.data, traffic, shape
        edges = shape[1] * np.array(deal(shape[0], self._comm.size))
        self._counts, self._places = np.diff(edges), edges[:-1]
        self._own = len(slabs.share(shape[0])), shape[1]
        self._sent = self._comm.size > 1 and edges[-1] > 0

    def gather(self, own: Array) -> Array:
        """The whole matrix from the rows of every rank."""
        if not self._sent:
            return own
        others = self._comm.size - 1
        self._traffic.count("ends", own.nbytes * others, others)
        return all_rows(self._comm, own, self._shape[0])

    def reduce(self, total: Array, out: Array) -> None:
        """Sums of the own rows over the ranks, in their order, of the whole matrix of every rank."""
        if not self._sent:
            out[...] = total
            return
        size, parts = self._comm.size, np.empty((self._comm.size, *self._own))
        self._comm.Alltoallv(
            [total, self._counts, self._places, MPI.DOUBLE],
            [parts, [parts[0].size] * size, None, MPI.DOUBLE],
        )
        self._traffic.count("ends", total.nbytes - parts[0].nbytes, size - 1)
        np.sum(parts, axis=0, out=out)
