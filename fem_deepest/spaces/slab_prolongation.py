"""Prolongation of a control with sharded weights to another level: what a slab needs is sent to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.depth import DepthMesh
from fem_deepest.spaces.prolongation import along, with_constant
from fem_deepest.spaces.slab_space import SlabSpace
from fem_deepest.spaces.slabs import all_rows

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_TAG = 73


def prolong_slabs(
    coarse: SlabSpace,
    fine: SlabSpace,
    source: DepthMesh,
    target: DepthMesh,
    u: PETSc.Vec,
    *,
    states: sparse.csr_matrix | None = None,
    rows: sparse.csr_matrix | None = None,
    columns: sparse.csr_matrix | None = None,
) -> PETSc.Vec:
    """The same as :func:`.prolong` for sharded weights, which says what the arguments are.

    Every slab receives the nodes of the old level around its own; of another neuron index all rows at
    one node after the other, so that no rank has more than its part and one node.

    Raises:
        InputError: The two spaces are on grids of different shapes.

    Collective.
    """
    if coarse.grid.shape != fine.grid.shape:
        raise InputError(
            f"a control on a grid of {coarse.grid} ranks was to be prolonged to one of {fine.grid}, "
            "expected the same; take one grid for all levels"
        )
    result = fine.create()
    old, new = u.array_r, result.array_w
    a, b = coarse.parameters(old), fine.parameters(new)
    _prolong_theta(coarse, fine, source, target, a.theta, b.theta, rows, columns)
    b.readout[...] = along(with_constant(states), a.readout, 1)
    lift = a.lift
    if states is not None and fine.slabs.first:
        lift = along(
            _part(states, fine.lift_rows),
            all_rows(coarse.grid.data, lift, coarse.shapes.lift[0]),
            0,
        )
    b.lift[...] = lift
    if coarse.has_forcings:
        _prolong_forcings(coarse, fine, source, target, old, new, states)
    return result


def _prolong_theta(
    coarse: SlabSpace,
    fine: SlabSpace,
    source: DepthMesh,
    target: DepthMesh,
    a: Array,
    b: Array,
    rows: sparse.csr_matrix | None,
    columns: sparse.csr_matrix | None,
) -> None:
    """P1 in depth, from and to the own nodes."""
    slabs, grid = fine.slabs, fine.grid
    cell, c = source.interpolation(target.nodes)
    wanted = [range(cell[part.start], cell[part[-1]] + 2) for part in _parts(slabs.node_edges)]
    nodes = _received(grid.depth, a, coarse.slabs.node_edges, wanted)
    if rows is not None or columns is not None:
        nodes = np.stack(
            [
                along(
                    columns,
                    along(
                        _part(rows, fine.rows), all_rows(grid.data, node, coarse.shapes.theta[1]), 0
                    ),
                    1,
                )
                if rows is not None
                else along(columns, node, 1)
                for node in nodes
            ]
        )
    first = wanted[grid.depth.rank].start
    for j, i in enumerate(slabs.nodes):
        k = cell[i] - first
        np.multiply(nodes[k], 1.0 - c[i], out=b[j])
        b[j] += c[i] * nodes[k + 1]


def _prolong_forcings(
    coarse: SlabSpace,
    fine: SlabSpace,
    source: DepthMesh,
    target: DepthMesh,
    old: Array,
    new: Array,
    states: sparse.csr_matrix | None,
) -> None:
    """P0 in depth, chunk by chunk of the old level; the new one may have other chunks."""
    comm = fine.grid.depth
    cell, _ = source.interpolation(0.5 * (target.nodes[:-1] + target.nodes[1:]))
    new_cells, old_cells = (
        [*(space.slabs.cells_of(slab).start for slab in range(comm.size)), space.slabs.count]
        for space in (fine, coarse)
    )
    wanted = [range(cell[part.start], cell[part[-1]] + 1) for part in _parts(new_cells)]
    places = cell[fine.cells.start : fine.cells.stop] - wanted[comm.rank].start
    edges = np.concatenate([[0], np.cumsum(fine.tiles)])
    for chunk, samples in enumerate(_parts(np.concatenate([[0], np.cumsum(coarse.tiles)]))):
        a0, a_xi = coarse.forcing(old, chunk)
        image0, image = along(states, a0, 0) if a0.size else a0, a_xi
        if a_xi.size:
            received = _received(comm, a_xi, old_cells, wanted)
            image = along(states, received, 1)[places]
        for other, its in enumerate(_parts(edges)):
            both = range(max(samples.start, its.start), min(samples.stop, its.stop))
            if not both:
                continue
            b0, b_xi = fine.forcing(new, other)
            here, there = (_columns(both, part.start) for part in (samples, its))
            if b0.size:
                b0[:, there] = image0[:, here]
            if b_xi.size:
                b_xi[:, :, there] = image[:, :, here]


def _received(
    comm: MPI.Intracomm, own: Array, edges: Sequence[int], wanted: Sequence[range]
) -> Array:
    """The parts along the first axis that this rank wants, which others have.

    Args:
        comm: The ranks.
        own: Part of this rank.
        edges: First number of each rank's part, and the number of all.
        wanted: What each rank wants.
    """
    mine, parts = wanted[comm.rank], _parts(edges)
    first = edges[comm.rank]
    out, requests = np.empty((len(mine), *own.shape[1:])), list[MPI.Request]()
    for rank in range(comm.size):
        get = range(max(mine.start, parts[rank].start), min(mine.stop, parts[rank].stop))
        give = range(max(wanted[rank].start, first), min(wanted[rank].stop, edges[comm.rank + 1]))
        target, source = out[_columns(get, mine.start)], own[_columns(give, first)]
        if rank == comm.rank:
            target[...] = source
            continue
        if target.size:
            requests.append(comm.Irecv(target, rank, _TAG))
        if source.size:
            requests.append(comm.Isend(source, rank, _TAG))
    MPI.Request.Waitall(requests)
    return out


def _parts(edges: Sequence[int] | Integers) -> list[range]:
    return [range(lo, hi) for lo, hi in pairwise(int(edge) for edge in edges)]


def _part(matrix: sparse.csr_matrix | None, rows: range) -> sparse.csr_matrix | None:
    return None if matrix is None else matrix[rows.start : rows.stop]


def _columns(part: range, first: int) -> slice:
    """A range, empty ones included, in numbers that begin with ``first``."""
    return slice(part.start - first, max(part.start, part.stop) - first)
