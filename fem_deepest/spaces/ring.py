"""Closed intervals: periodic problems in one dimension without constraints.

A function with period ``L`` is a function on a closed curve of that length. The mesh is a regular
polygon in the plane: its sides are the cells, the last of which ends where the first begins, so every
space on it is periodic, and stiffness and mass matrices are those of the interval with identified
ends, exactly, since they depend on the lengths of the cells alone. The two coordinates are the price:
the gradient is tangential, and ``s`` comes from :func:`arc_length`.

In more dimensions this is not possible: a flat torus does not fit into three dimensions without
stretching its cells, and DOLFINx ties the vertices of a mesh to its nodes.
"""

from __future__ import annotations

from collections.abc import Callable

import basix.ufl
import numpy as np
import ufl
from dolfinx import mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


def create_ring(comm: MPI.Intracomm, cells: int, length: float = 1.0) -> mesh.Mesh:
    """Interval ``(0, length)`` with identified ends, in equal cells.

    Args:
        comm: Communicator.
        cells: Number of cells, 3 or more.
        length: Period ``L``.

    Raises:
        InputError: There are fewer than three cells, or the length is not positive.

    Collective.
    """
    if cells < 3:
        raise InputError(f"cells = {cells}; a closed interval needs 3 or more")
    if not 0.0 < length < np.inf:
        raise InputError(f"length = {length:g}; expected a positive number")
    first = comm.rank == 0
    number = np.arange(cells if first else 0, dtype=np.int64)
    angle = 2.0 * np.pi * number / cells
    radius = 0.5 * length / (cells * np.sin(np.pi / cells))
    return mesh.create_mesh(
        comm,
        cells=np.stack([number, (number + 1) % cells], axis=1),
        x=radius * np.stack([np.cos(angle), np.sin(angle)], axis=1),
        e=ufl.Mesh(basix.ufl.element("Lagrange", "interval", 1, shape=(2,))),
    )


def arc_length(length: float = 1.0) -> Callable[[Array], Array]:
    """``s`` in ``[0, L)`` of nodes of :func:`create_ring`, for ``interpolate``.

    Args:
        length: Period ``L``.

    Returns:
        A function of coordinates (3, m) whose values are (m,).
    """

    def s(x: Array) -> Array:
        turn = np.arctan2(x[1], x[0]) / (2.0 * np.pi)
        # Rounding must not put the first node at the end.
        return np.asarray(length * (np.where(turn < -1e-9, turn + 1.0, np.maximum(turn, 0.0))))

    return s
