"""Bytes of a rank on a grid.

Sharded weights: a vector of the solver has the rank's own part; there are three for each of ``m`` pairs
of the quasi-Newton method, and 28 others at the peak: iterate, gradients, directions, and what prior and
solver make on the way. Beside them the states of the chunks in flight, a few gathered nodes with the sums
of a cell, and the data of the rank's samples. Whole weights: the first rank has the vectors, 15 beside the
pairs, and every rank a copy of the parameters, its sums and the states of a tile, as in
:mod:`fem_deepest.runs.memory_estimate`.

The 28 are fitted to four peaks of 256 neurons in 32 layers with five pairs, on one rank and on two, which
they meet within 5 %.
"""

from __future__ import annotations

from fem_deepest.performance.layout import Layout, tile
from fem_deepest.performance.machine import NUMBER

SHARDED, WHOLE = 28, 15  # vectors of a solver beside the pairs of its memory
_GATHERED = 8  # matrices of a cell: gathered nodes, stages, sums, and their buffers
_STAGES = 15  # copies and sums of the weight field with whole weights, see memory_estimate
PROCESS = 200e6  # an interpreter with PETSc and DOLFINx


def vectors(layout: Layout) -> int:
    """Vectors of the solver."""
    return (SHARDED if layout.sharded else WHOLE) + 3 * layout.workload.memory


def bytes_of_rank(layout: Layout) -> float:
    """Bytes of the rank that has most."""
    w = layout.workload
    numbers = float(vectors(layout) * layout.control)
    numbers += layout.samples * (w.inputs + 1)
    if layout.sharded:
        states = layout.in_flight * layout.cells * w.stored + 8 * w.neurons
        numbers += layout.width * states
        if layout.data > 1:
            numbers += _GATHERED * w.node
        else:
            numbers += (layout.cells + 1) * w.node
    else:
        numbers += w.parameters + _STAGES * w.slots * (w.cells + 1) * w.node
        numbers += tile(layout.samples) * w.cells * w.stored
    return PROCESS + NUMBER * numbers
