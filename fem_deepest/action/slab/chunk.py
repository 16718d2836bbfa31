"""How many samples go through a slab together: from what a cell and a message cost here.

Narrow chunks keep the pipeline full: of ``C + P_t - 1`` chunk times ``P_t - 1`` are lost at its ends. Wide
ones pay less often for what does not depend on the width, such as the weights of a cell that are gathered
and reduced for each chunk, and multiply faster. With ``K_d`` samples on a data rank, ``n_s`` cells in a
slab, the time ``t(w)`` of ``w`` samples there and back through a cell, ``g`` of two gathers and a
reduction of a node, and ``m(b)`` of a message of ``b`` bytes, an evaluation takes about

    T(w) = (C + P_t - 1) [ n_s (t(w) + g) + 2 m(8 N w) ],    C = K_d / w rounded up:

an upper bound, as if nothing went on at the same time. All times are measured.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.slab.batch import chunk_count
from fem_deepest.network.flow import Flow
from fem_deepest.network.network import Network
from fem_deepest.spaces.grid import deal, ranks_on_host
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]

_WIDTHS = (32, 128, 512)
_LONG = 0.05  # seconds after which no wider product is timed
_ROUNDS = 3  # of which the shortest times are taken: other work on the machine only adds to them;
# what a rank computes by itself is timed by its own clock for the same reason
_MESSAGE = 1 << 20  # bytes of a long message
_NEAR = 1.02  # of the least time: of chunks that are as good the narrowest takes the least memory
_SHARE = 0.25  # of the memory of a rank, for the states of its chunks
_TAG = 35


@dataclass(frozen=True)
class Costs:
    """Times in seconds, the same on all ranks: those of the slowest.

    Attributes:
        widths: Some widths, ascending.
        times: ``t`` of these, there and back through a cell.
        node: ``g``.
        message: Start-up time of a message between neighbours in depth, and its time for a byte.
    """

    widths: list[int]
    times: list[float]
    node: float
    message: tuple[float, float]

    @classmethod
    def measure(cls, network: Network, slabs: Slabs, samples: int) -> Costs:
        """In some milliseconds. Collective on the grid.

        Args:
            network: The network.
            slabs: How it is dealt out.
            samples: ``K``.
        """
        comm = slabs.grid.comm
        most = -(-samples // slabs.grid.data.size)
        calls, times = dict[int, Callable[[], object]](), dict[int, float]()
        for width in sorted({min(width, most) for width in _WIDTHS}):
            calls[width] = _through_a_cell(network, width)
            times[width] = comm.allreduce(_seconds(calls[width], time.thread_time), op=MPI.MAX)
            if times[width] > _LONG and len(times) > 1:
                break
        for _ in range(_ROUNDS):  # all widths in turn
            for width, call in calls.items():
                times[width] = min(times[width], _seconds(call, time.thread_time))
        widths = list(calls)
        seconds = [comm.allreduce(times[width], op=MPI.MAX) for width in widths]
        own = np.array([_node(network, slabs), *_message(slabs.grid.depth)])
        comm.Allreduce(MPI.IN_PLACE, own, op=MPI.MAX)
        node, start, byte = (float(value) for value in own)
        return cls(widths, seconds, node, (start, byte))

    def cell(self, width: int) -> float:
        """``t(w)``: linear between the measured widths; less than the first cost as much as the first."""
        if width >= self.widths[-1]:
            return self.times[-1] * width / self.widths[-1]
        return float(np.interp(width, self.widths, self.times))

    def evaluation(
        self, width: int, *, samples: int, cells: int, slabs: int, neurons: int
    ) -> float:
        """``T(w)``.

        Args:
            width: ``w``.
            samples: ``K_d``.
            cells: ``n_s``.
            slabs: ``P_t``.
            neurons: ``N``.
        """
        start, byte = self.message
        between = 2.0 * (start + byte * 8 * neurons * width) if slabs > 1 else 0.0
        chunks = chunk_count(samples, 1, width)
        return (chunks + slabs - 1) * (cells * (self.cell(width) + self.node) + between)


def choose_chunk(network: Network, slabs: Slabs, samples: int) -> int:
    """The width of least time whose states have room. Collective on the grid.

    Args:
        network: The network.
        slabs: How it is dealt out.
        samples: ``K``.
    """
    grid, costs = slabs.grid, Costs.measure(network, slabs, samples)
    most = -(-samples // grid.data.size)
    cells = max(len(slabs.cells_of(slab)) for slab in range(grid.depth.size))
    # Widths of 1, 2, 3, 4, 6, 8, 12, ... chunks: what is measured is not exact to more than that.
    counts = {base << k for base in (2, 3) for k in range(most.bit_length())} | {1}
    widths = sorted({-(-most // count) for count in counts})
    narrow = [width for width in widths if width <= _room(network, slabs, cells)] or widths[:1]
    sizes = {"samples": most, "cells": cells, "slabs": grid.depth.size}
    times = [costs.evaluation(width, neurons=network.index.neurons, **sizes) for width in narrow]
    return next(w for w, t in zip(narrow, times, strict=True) if t <= _NEAR * min(times))


def state_bytes(network: Network, cells: int, slabs: int) -> int:
    """Bytes of the states of one sample in the first slab, which keeps most chunks, with tangents."""
    return 4 * 8 * (network.index.neurons + 1) * network.scheme.stages * cells * slabs


def _room(network: Network, slabs: Slabs, cells: int) -> int:
    """Greatest width whose states take no more than a share of the memory of a rank; collective."""
    comm = slabs.grid.comm
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / ranks_on_host(comm)
    room = _SHARE * memory / state_bytes(network, cells, slabs.grid.depth.size)
    return max(int(comm.allreduce(room, op=MPI.MIN)), 1)


def _seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    call()
    return clock() - begun


def _through_a_cell(network: Network, width: int) -> Callable[[], object]:
    """A sweep of ``width`` samples there and back."""
    coupling = network.coupling
    flow = Flow(
        network.depth.steps[:1],
        coupling,
        width,
        network.scheme,
        network.activation,
        network.leak,
    )
    slots = len(network.scheme.abscissae)
    theta, gradient = np.zeros((2, 1, slots, *coupling.shape))
    x = np.zeros((coupling.neurons, width))

    def there_and_back() -> None:
        flow.forward(theta, x)
        flow.adjoint(theta, x, gradient)  # added to that of other chunks

    return there_and_back


def _node(network: Network, slabs: Slabs) -> float:
    """Seconds of two gathers and a reduction of a node, and of what effective parameters take.

    Messages are timed with some rows only where a node is large. Collective on the data ranks.
    """
    comm, (rows, columns) = slabs.grid.data, network.coupling.shape
    if comm.size == 1:
        return 0.0
    few = min(rows, max(_MESSAGE // (8 * columns), 1))
    counts = columns * np.diff(deal(few, comm.size))
    part, whole = np.zeros(counts[comm.rank]), np.zeros((few, columns))
    parts = np.zeros((comm.size, counts[comm.rank]))
    places = np.cumsum(counts) - counts

    def exchange() -> None:
        for _ in range(2):
            comm.Iallgatherv(part, [whole, counts]).Wait()
        comm.Ialltoallv(
            [whole, counts, places, MPI.DOUBLE],
            [parts, [part.size] * comm.size, None, MPI.DOUBLE],
        ).Wait()
        parts.sum(axis=0)

    node = np.zeros((rows, columns))

    def effective() -> None:
        network.coupling.effective_transposed(network.coupling.effective(node))

    exchange()  # connects
    best = np.full(2, np.inf)
    for _ in range(_ROUNDS):
        comm.Barrier()
        best = np.minimum(best, [_seconds(exchange), _seconds(effective, time.thread_time)])
    return float(best[0] * rows / few + best[1])


def _message(depth: MPI.Intracomm) -> tuple[float, float]:
    """Start-up time and time for a byte, of messages there and back. Collective on the depth axis."""
    if depth.size == 1:
        return 0.0, 0.0
    partner = depth.rank ^ 1
    best = np.full(2, np.inf)
    for _ in range(_ROUNDS):
        for k, size in enumerate((1, _MESSAGE // 8)):
            a, b = np.zeros(size), np.zeros(size)
            depth.Barrier()
            if partner < depth.size:
                call = partial(depth.Sendrecv, a, partner, _TAG, b, partner, _TAG)
                best[k] = min(best[k], _seconds(call))
    start, whole = (float(x) if np.isfinite(x) else 0.0 for x in best)
    return start, max(whole - start, 0.0) / _MESSAGE
