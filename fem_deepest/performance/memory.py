"""Bytes of a rank on a grid.

Sharded weights: a vector of the solver has the rank's own part, and there are ``3 m + 15`` of them as in
:mod:`fem_deepest.runs.memory_estimate`; beside them the states of the chunks in flight, a few gathered
nodes with the sums of a cell, and the data of the rank's samples. Whole weights: the first rank has the
vectors, and every rank a copy of the parameters, its sums and the states of a tile.
"""

from __future__ import annotations

from fem_deepest.performance.layout import Layout, tile
from fem_deepest.performance.machine import NUMBER

CONTROLS = 15  # vectors of a solver beside the pairs of its memory
_GATHERED = 8  # matrices of a cell: gathered nodes, stages, sums, and their buffers
_STAGES = 15  # copies and sums of the weight field with whole weights, see memory_estimate
PROCESS = 200e6  # an interpreter with PETSc and DOLFINx


def vectors(layout: Layout) -> int:
    """Vectors of the solver."""
    return CONTROLS + 3 * layout.workload.memory


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
