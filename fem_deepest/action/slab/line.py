"""States on their way through the slabs, chunk after chunk."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.slab.traffic import Traffic

Array = NDArray[np.float64]

_BUFFERS = 3  # one that comes, one that is computed with, one that goes


class Line:
    """What comes from one neighbour in depth, is swept through the slab in place, and goes to the other.

    Args:
        comm: Depth axis.
        before: Rank that it comes from; none at an end of the depth.
        after: Rank that it goes to; none at an end of the depth.
        tag: Of the messages.
        fields: Arrays that go together, as states and their tangents.
        neurons: ``N``.
        widths: Numbers of samples of the chunks.
        traffic: Counts what is sent.

    The chunks come in order, the next one while a chunk is computed. Collective with the neighbours.
    """

    def __init__(
        self,
        comm: MPI.Intracomm,
        before: int | None,
        after: int | None,
        tag: int,
        *,
        fields: int,
        neurons: int,
        widths: list[int],
        traffic: Traffic,
    ) -> None:
        self._comm, self._before, self._after, self._tag = comm, before, after, tag
        self._widths, self._traffic = widths, traffic
        size = fields * neurons * max(widths)
        flat = [np.empty(size) for _ in range(min(_BUFFERS, len(widths)))]
        self._views = [
            flat[chunk % len(flat)][: fields * neurons * width].reshape(fields, neurons, width)
            for chunk, width in enumerate(widths)
        ]
        self._arrivals: dict[int, MPI.Request] = {}
        self._departures: dict[int, MPI.Request] = {}

    def arrive(self, chunk: int) -> Array:
        """Fields (fields, N, k) of a chunk at the end of the slab where the sweep begins."""
        self._expect(chunk)
        self._expect(chunk + 1)
        self._arrivals.pop(chunk).Wait()
        return self._views[chunk]

    def leave(self, chunk: int) -> None:
        """The chunk is swept: send it on."""
        if self._after is None or not self._views[chunk].size:
            return
        view = self._views[chunk]
        self._departures[chunk] = self._comm.Isend(view, self._after, self._tag)
        self._traffic.count("states", view.nbytes)

    def poke(self) -> None:
        """Let messages make progress."""
        MPI.Request.Testall([*self._arrivals.values(), *self._departures.values()])

    def end(self) -> None:
        """Nothing is left on its way."""
        MPI.Request.Waitall(list(self._departures.values()))
        self._departures.clear()

    def _expect(self, chunk: int) -> None:
        if chunk in self._arrivals or chunk >= len(self._views):
            return
        # The buffer may still be on its way to the other neighbour.
        self._departures.pop(chunk - _BUFFERS, MPI.REQUEST_NULL).Wait()
        request = MPI.REQUEST_NULL
        if self._before is not None and self._views[chunk].size:
            request = self._comm.Irecv(self._views[chunk], self._before, self._tag)
        self._arrivals[chunk] = request
