"""Interfaces of slabs: messages between neighbours, and the linearised state equation along them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.solve.shooting.propagators import Propagator

Array = NDArray[np.float64]


class Interfaces:
    """Neighbours in depth.

    Args:
        comm: Depth axis of the grid, in the order of the depth.

    Attributes:
        first: Whether this rank has the input.
        last: Whether it has the output.
        messages: Messages sent so far.

    Collective on ``comm``: every method.
    """

    def __init__(self, comm: MPI.Intracomm) -> None:
        self.comm = comm
        self.first, self.last = comm.rank == 0, comm.rank == comm.size - 1
        self._before = MPI.PROC_NULL if self.first else comm.rank - 1
        self._after = MPI.PROC_NULL if self.last else comm.rank + 1
        self.messages = 0

    def down(self, value: Array) -> Array:
        """What the rank before has, all ranks at the same time; zero on the first one."""
        out = np.zeros_like(value)
        self.messages += not self.last
        self.comm.Sendrecv(
            np.ascontiguousarray(value), self._after, recvbuf=out, source=self._before
        )
        return out

    def up(self, value: Array) -> Array:
        """What the rank behind has, all ranks at the same time; zero on the last one."""
        out = np.zeros_like(value)
        self.messages += not self.first
        self.comm.Sendrecv(
            np.ascontiguousarray(value), self._before, recvbuf=out, source=self._after
        )
        return out

    def receive(self, shape: tuple[int, ...], upwards: bool = False) -> Array:
        """Wait for a neighbour, the one before or behind; zero where there is none."""
        out = np.zeros(shape)
        self.comm.Recv(out, self._after if upwards else self._before)
        return out

    def send(self, value: Array, upwards: bool = False) -> None:
        """Send to the other neighbour, if there is one."""
        self.messages += not (self.first if upwards else self.last)
        self.comm.Send(np.ascontiguousarray(value), self._before if upwards else self._after)

    def solve(self, propagators: Sequence[Propagator], r: Array) -> Array:
        """``dx`` at the right ends from ``E_s dx_s - dx_{s+1} = r_{s+1}``, ``dx_0 = 0``, (own, N, K)."""
        out = np.empty_like(r)
        before = self.receive(r.shape[1:])
        for s, propagator in enumerate(propagators):
            np.subtract(propagator.tangent(before), r[s], out=out[s])
            before = out[s]
        self.send(before)
        return out

    def solve_transposed(self, propagators: Sequence[Propagator], r: Array) -> Array:
        """``lambda`` at the right ends from ``E_{s+1}^T lambda_{s+1} - lambda_s = r_s``, (own, N, K)."""
        out = np.empty_like(r)
        behind = self.receive(r.shape[1:], upwards=True)
        for s in reversed(range(len(propagators))):
            np.subtract(behind, r[s], out=out[s])
            behind = propagators[s].adjoint(out[s])
        self.send(behind, upwards=True)
        return out
