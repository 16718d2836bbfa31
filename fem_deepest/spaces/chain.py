"""Slabs of the depth in a row: tridiagonal products with ghost nodes, recurrences through all slabs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.spaces.transposition import Tally

Array = NDArray[np.float64]
Bands = tuple[Array, Array]
Step = Callable[[int, slice, Array | None], None]

_PIECE = 2**14  # entries of a node that go through a slab together, if there are no more than ...
_MANY = 8  # ... so many pieces for each slab: a pipeline is full for all but one of them
_GHOST, _SWEEP = 71, 72


class Chain:
    """The nodes of a depth in consecutive slabs, each on one rank of a communicator.

    Args:
        comm: The ranks, in the order of the depth.
        edges: First node of each rank, and the number of all.
        tally: Counts what is sent.

    Attributes:
        comm: The ranks.
        edges: First node of each rank, and the number of all.
        nodes: Nodes of this rank, at least one.
        before: Rank of the slab before this one, if there is any.
        after: Rank of the slab after this one, if there is any.

    Fields are arrays (own nodes, ...), contiguous, of one shape but for the first axis on all ranks.
    Collective on ``comm``: :meth:`banded` and :meth:`sweep`.
    """

    def __init__(self, comm: MPI.Intracomm, edges: Sequence[int], tally: Tally) -> None:
        self.comm, self.edges, self._tally = comm, edges, tally
        self.nodes = range(edges[comm.rank], edges[comm.rank + 1])
        self.before = comm.rank - 1 if comm.rank else None
        self.after = comm.rank + 1 if comm.rank < comm.size - 1 else None

    def own(self, values: Array) -> Array:
        """This rank's part of one number for each node."""
        return values[self.nodes.start : self.nodes.stop]

    def beside(self, values: Array) -> Array:
        """Of one number between each two nodes those before, between and after the nodes here.

        Zeros where there is no node: the ``j``-th is between the own nodes ``j - 1`` and ``j``.
        """
        padded = np.concatenate([[0.0], values[: self.edges[-1] - 1], [0.0]])
        return padded[self.nodes.start : self.nodes.stop + 1]

    def banded(self, a: Array, *products: tuple[Bands, Array]) -> None:
        """Products of ``a`` with symmetric tridiagonal matrices.

        Args:
            a: Field (own nodes, ...).
            products: Diagonal and off-diagonal at all nodes, and the field for their product with ``a``.
        """
        ghosts = {rank: np.empty(a.shape[1:]) for rank in (self.before, self.after)}
        requests = list[MPI.Request]()
        for rank, end in ((self.before, 0), (self.after, -1)):
            if rank is not None and a.size:
                requests.append(self.comm.Irecv(ghosts[rank], rank, _GHOST))
                requests.append(self.comm.Isend(a[end], rank, _GHOST))
                self._tally.add(a[end].size)
        last, product = len(a) - 1, np.empty(a.shape[1:])

        def add(out: Array, coefficient: float, b: Array) -> None:
            np.add(out, np.multiply(b, coefficient, out=product), out=out)

        def row(bands: Bands, out: Array, i: int, after: Array | None) -> None:
            between = self.beside(bands[1])
            np.multiply(a[i], self.own(bands[0])[i], out=out[i])
            if after is not None:
                add(out[i], between[i + 1], after)
            if i:
                add(out[i], between[i], a[i - 1])

        for bands, out in products:
            for i in range(last):
                row(bands, out, i, a[i + 1])
        MPI.Request.Waitall(requests)
        for bands, out in products:
            row(bands, out, last, None if self.after is None else ghosts[self.after])
            if self.before is not None:
                add(out[0], self.beside(bands[1])[0], ghosts[self.before])

    def sweep(self, x: Array, step: Step, *, upward: bool = True) -> None:
        """A recurrence in depth, node after node, pipelined through the slabs in pieces of a node.

        Args:
            x: Field (own nodes, E) that is computed or changed in place.
            step: ``step(i, piece, beside)`` does so with the entries ``piece`` of the own node ``i``,
                where ``beside`` is what the step before has left, none at the end of the depth.
            upward: Whether it goes in the direction of the depth.
        """
        nodes = range(len(x)) if upward else range(len(x) - 1, -1, -1)
        source, target = (self.before, self.after) if upward else (self.after, self.before)
        requests = list[MPI.Request]()
        for piece in self._pieces(x.shape[1]):
            beside: Array | None = None
            if source is not None:
                beside = np.empty(piece.stop - piece.start)
                self.comm.Recv(beside, source, _SWEEP)
            for i in nodes:
                step(i, piece, beside)
                beside = x[i, piece]
            if target is not None:
                requests.append(self.comm.Isend(x[nodes[-1], piece], target, _SWEEP))
                self._tally.add(piece.stop - piece.start)
        MPI.Request.Waitall(requests)

    def _pieces(self, entries: int) -> list[slice]:
        length = piece_length(entries, self.comm.size)
        return [slice(lo, min(lo + length, entries)) for lo in range(0, entries, length)]


def piece_length(entries: int, slabs: int) -> int:
    """Entries of a node that go through a slab together, of so many."""
    return max(_PIECE, -(-entries // (_MANY * slabs)))
