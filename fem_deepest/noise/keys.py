"""Keys of cells and of degrees of freedom: names of 64 bits that do not depend on the partition.

A vertex is named by the bits of its coordinates. A point of a cell that has the multilinear
(barycentric, on a simplex) coordinates ``N_v`` with respect to the vertices ``v`` of the cell is named by

    key = sum_v mix( key_v, N_v )   modulo 2^64,      over the vertices with N_v != 0,

so that it has the same key in all cells it belongs to, on all ranks, in whatever order a cell counts
its vertices. The key of a cell is that of its midpoint. Hence nothing has to be known of where a
mesh comes from: it may be created, read from a file, a submesh, or refined, where the vertices of the
parent keep their keys and the others take theirs from the midpoints of the parent's edges.
DOLFINx's ``original_cell_index`` depends on the partition after a refinement, and its order in a
file on the number of ranks that wrote it.

The coordinates have to have the same bits on any number of ranks, as those that were created, read or
refined have; a function applied to them afterwards may round differently. Keys are taken once: a
mesh that moves later keeps its noise. Two of ``n`` cells have the same key by chance with probability
``n^2 / 2^65``: 3e-8 for a million cells.
"""

from __future__ import annotations

from typing import Any

import basix
import numpy as np
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._compat import geometry_dofmap
from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Words = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_GRID = 2.0**20  # the coordinates of points in a cell are rounded to this grid


def cell_keys(domain: mesh.Mesh) -> Words:
    """Keys of the cells of this rank, the ghosts behind the owned ones, (cells,).

    Args:
        domain: Mesh.

    Raises:
        InputError: Coordinates are not finite, or two cells have the same vertices.

    Collective.
    """
    middle = np.mean(np.asarray(basix.geometry(_type(domain))), axis=0, keepdims=True)
    keys = point_keys(domain, middle)[:, 0]
    owned = keys[: domain.topology.index_map(domain.topology.dim).size_local]
    fault = (
        2 if not np.isfinite(domain.geometry.x).all() else int(np.unique(owned).size < owned.size)
    )
    fault = domain.comm.allreduce(fault, MPI.MAX)
    if fault:
        reason = ("two cells lie on the same vertices", "its coordinates are not finite")[fault - 1]
        raise InputError(
            f"the keys of the noise on this mesh are not available: {reason}; cells are told apart by the "
            "coordinates of their vertices, give a mesh where these differ"
        )
    return keys


def dof_keys(V: Any) -> Words:
    """Keys of the owned degrees of freedom of a Lagrange space, (owned nodes,).

    The components of a vector-valued space share the key of their node.

    Args:
        V: Lagrange space, continuous or not.

    Raises:
        InputError: See :func:`cell_keys`.

    Collective.
    """
    element, domain = V.ufl_element(), V.mesh
    cells = cell_keys(domain)
    own = point_keys(domain, element.basix_element.points)
    if element.discontinuous:
        own = _mix(own + cells[:, None])
    dofs = V.dofmap
    keys = np.zeros(dofs.index_map.size_local + dofs.index_map.num_ghosts, dtype=np.uint64)
    keys[dofs.list] = own
    return keys[: dofs.index_map.size_local]


def point_order(domain: mesh.Mesh, points: Array) -> NDArray[np.intp]:
    """An order of the points of each owned cell that does not depend on how it counts its vertices.

    Args:
        domain: Mesh.
        points: Reference coordinates, (Q, d), of a set of points as symmetric as the cell.

    Returns:
        (owned cells, Q) numbers of points.
    """
    owned = domain.topology.index_map(domain.topology.dim).size_local
    return np.argsort(point_keys(domain, points)[:owned], axis=1)


def point_keys(domain: mesh.Mesh, points: Array) -> Words:
    """Keys of points with the same reference coordinates in all cells, the ghosts behind the owned.

    Args:
        domain: Mesh.
        points: Reference coordinates, (Q, d).

    Returns:
        (cells, Q).

    Not collective.
    """
    kind = _type(domain)
    element = basix.create_element(basix.ElementFamily.P, kind, 1)
    basis = np.asarray(element.tabulate(0, np.asarray(points, dtype=np.float64)))[0, :, :, 0]
    weights = np.rint(basis * _GRID).astype(np.int64).astype(np.uint64) * _GOLDEN
    # The vertices are the first of the nodes of a cell, also of a curved one.
    nodes = geometry_dofmap(domain)[:, : basis.shape[1]]
    bits = (domain.geometry.x + 0.0).view(np.uint64)  # of -0.0 and 0.0 there is only one
    vertex = _mix(bits[:, 0])
    for i in (1, 2):
        vertex = _mix(vertex + bits[:, i])
    keys = np.zeros((nodes.shape[0], len(weights)), dtype=np.uint64)
    for q, v in np.argwhere(weights):
        keys[:, q] += _mix(vertex[nodes[:, v]] + weights[q, v])
    return _mix(keys)


def _type(domain: mesh.Mesh) -> Any:
    return getattr(basix.CellType, domain.topology.cell_name())


def _mix(z: Words) -> Words:
    """A bijection of 64 bits that scatters them (splitmix64 of Steele, Lea, Flood 2014)."""
    z = z + _GOLDEN
    for shift, factor in zip(_SHIFTS, _FACTORS, strict=False):
        z = (z ^ (z >> shift)) * factor
    return z ^ (z >> _SHIFTS[2])
