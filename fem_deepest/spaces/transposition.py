"""Arrays of which every rank has a part along one axis, dealt out along another axis instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass
class Tally:
    """What has been sent so far.

    Attributes:
        messages: Messages of this rank to others.
        bytes: Their bytes.
    """

    messages: int = 0
    bytes: int = 0

    def add(self, entries: int, messages: int = 1) -> None:
        """Count so many floating-point numbers, in so many messages."""
        self.messages += messages
        self.bytes += 8 * entries


class Transposition:
    """From arrays (k, own rows, S) to arrays (k, R, own columns) and back.

    Args:
        comm: The ranks.
        rows: Edges of their parts of ``R`` rows.
        columns: Edges of their parts of ``S`` columns.
        tally: Counts what is sent.

    Attributes:
        columns: Columns of this rank.
        tally: Counts what is sent.

    Collective on ``comm``: the methods. Every rank has the same ``k``.
    """

    def __init__(
        self, comm: MPI.Intracomm, rows: Sequence[int], columns: Sequence[int], tally: Tally
    ) -> None:
        self.comm, self.tally = comm, tally
        self._rows, self._columns = (
            [slice(lo, hi) for lo, hi in pairwise(edges)] for edges in (rows, columns)
        )
        self.columns = self._columns[comm.rank]

    def forth(self, a: Array) -> Array:
        """(k, own rows, S) to (k, R, own columns)."""
        if self.comm.size == 1:
            return a
        out = np.empty((len(a), self._rows[-1].stop, _size(self.columns)))
        self._exchange(
            [a[:, :, part] for part in self._columns], [out[:, part] for part in self._rows]
        )
        return out

    def back(self, a: Array) -> Array:
        """(k, R, own columns) to (k, own rows, S)."""
        if self.comm.size == 1:
            return a
        own = _size(self._rows[self.comm.rank])
        out = np.empty((len(a), own, self._columns[-1].stop))
        self._exchange(
            [a[:, part] for part in self._rows], [out[:, :, part] for part in self._columns]
        )
        return out

    def _exchange(self, sent: list[Array], received: list[Array]) -> None:
        """The ``q``-th of the sent pieces to rank ``q``, which all have pieces for this rank."""
        source = np.concatenate([piece.ravel() for piece in sent])
        target = np.empty(sum(piece.size for piece in received))
        counts = [[piece.size for piece in pieces] for pieces in (sent, received)]
        self.comm.Alltoallv([source, counts[0]], [target, counts[1]])
        self.tally.add(source.size - counts[0][self.comm.rank], self.comm.size - 1)
        start = 0
        for piece in received:
            piece[...] = target[start : start + piece.size].reshape(piece.shape)
            start += piece.size


def _size(part: slice) -> int:
    return int(part.stop - part.start)
