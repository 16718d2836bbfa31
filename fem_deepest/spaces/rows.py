"""Rows of blocks that other ranks own: what an operator between two partitions fetches."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

Array = NDArray[np.float64]


class RowExchange:
    """Fetches rows by their global numbers, and adds back: a gather and its adjoint.

    Args:
        comm: Ranks.
        owned: Rows of this rank; rank after rank they are numbered through.
        wanted: (n,) numbers of the rows this rank wants, without repetition.

    Collective: construction and every method.
    """

    def __init__(self, comm: MPI.Intracomm, owned: int, wanted: NDArray[np.int64]) -> None:
        self._comm, self._owned = comm, owned
        starts = np.concatenate([[0], np.cumsum(comm.allgather(owned))])
        owner = np.searchsorted(starts, wanted, side="right") - 1
        self._order = np.argsort(owner, kind="stable")
        self._get = np.bincount(owner, minlength=comm.size)
        self._put = np.array(comm.alltoall(list(self._get)))
        mine = exchange(comm, wanted[self._order, None], self._get, self._put)
        self._rows = mine[:, 0] - starts[comm.rank]

    def fetch(self, rows: Array) -> Array:
        """The wanted rows of all ranks' arrays (owned, m), in the order they were asked for."""
        out = np.empty((self._order.size, rows.shape[1]))
        out[self._order] = exchange(self._comm, rows[self._rows], self._put, self._get)
        return out

    def add_back(self, values: Array) -> Array:
        """Sums (owned, m) of what all ranks have for each row: ``fetch`` transposed."""
        back = exchange(self._comm, values[self._order], self._get, self._put)
        out = np.zeros((self._owned, values.shape[1]))
        np.add.at(out, self._rows, back)
        return out


def exchange(comm: MPI.Intracomm, rows: NDArray, send: NDArray, receive: NDArray) -> NDArray:
    """Send rows, sorted by their destination, in these numbers; receive rows sorted by their source.

    Args:
        comm: Ranks.
        rows: (sum of send, m).
        send: Rows for each rank.
        receive: Rows from each rank.

    Collective.
    """
    if comm.size == 1:
        return rows
    out = np.empty((int(receive.sum()), rows.shape[1]), dtype=rows.dtype)
    width = rows.shape[1]
    comm.Alltoallv([np.ascontiguousarray(rows), send * width], [out, receive * width])
    return out
