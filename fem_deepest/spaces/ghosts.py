"""Ghosts: copies of rows that other ranks own, for fields that are dealt out over ranks.

A field over the nodes of a mesh has its *owned* rows first, then its *ghosts*: the rows of other ranks
that operators of this rank reach. Filling the ghosts, and adding them to their owners, are transposes of
each other. DOLFINx exchanges the ghosts of a space, with a number of components that is fixed; here are
those of matrices, whose rows reach one cell farther, and any number of samples and channels at once.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class Ghosts:
    """What a rank sends to and receives from the others for the rows of a field.

    Args:
        comm: Ranks of the field.
        wanted: Numbers of the rows of others that this rank needs, increasing; their order is that of
            the ghosts.
        starts: Rank ``r`` owns the numbers ``starts[r]``, ..., ``starts[r + 1] - 1``.
        place: ``place[i]`` is the row of this rank of its number ``starts[rank] + i``, (owned,).

    Attributes:
        owned: Rows of this rank.
        local: Owned rows and ghosts.

    Collective on ``comm``: the construction and every method.
    """

    def __init__(
        self, comm: MPI.Intracomm, wanted: Integers, starts: Integers, place: Integers
    ) -> None:
        self.comm, self.owned, self.local = comm, place.size, place.size + wanted.size
        edges = np.searchsorted(wanted, starts)
        asked = comm.alltoall([wanted[edges[r] : edges[r + 1]] for r in range(comm.size)])
        first = starts[comm.rank]
        self._sent = {r: place[a - first] for r, a in enumerate(asked) if a.size}
        self._received = {
            r: slice(self.owned + edges[r], self.owned + edges[r + 1])
            for r in range(comm.size)
            if edges[r + 1] > edges[r]
        }

    def fill(self, x: Array) -> None:
        """Copy the rows of their owners into the ghosts of ``x`` (..., local, K), in place."""
        outgoing = {r: np.ascontiguousarray(x[..., rows, :]) for r, rows in self._sent.items()}
        incoming = {r: np.empty(x[..., rows, :].shape) for r, rows in self._received.items()}
        self._exchange(outgoing, incoming)
        for r, values in incoming.items():
            x[..., self._received[r], :] = values

    def add(self, x: Array) -> None:
        """Add the ghosts of ``x`` (..., local, K) to the rows of their owners, in place."""
        outgoing = {r: np.ascontiguousarray(x[..., rows, :]) for r, rows in self._received.items()}
        incoming = {r: np.empty(x[..., rows, :].shape) for r, rows in self._sent.items()}
        self._exchange(outgoing, incoming)
        for r, values in incoming.items():
            x[..., self._sent[r], :] += values  # no row twice: a rank asks for each once

    def _exchange(self, outgoing: dict[int, Array], incoming: dict[int, Array]) -> None:
        requests = [self.comm.Irecv(values, source=r) for r, values in incoming.items()]
        requests += [self.comm.Isend(values, dest=r) for r, values in outgoing.items()]
        MPI.Request.Waitall(requests)
