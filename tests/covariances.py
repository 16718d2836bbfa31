"""Dense matrices and meshes for the tests of the noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.noise.covariance import Covariance

Array = NDArray[np.float64]


def interval(cells: int, length: float = 1.0, comm: Any = MPI.COMM_SELF, degree: int = 1) -> Any:
    """Lagrange space on (0, length)."""
    domain = mesh.create_interval(comm, cells, (0.0, length))
    return fem.functionspace(domain, ("Lagrange", degree))


def rectangle(
    nx: int,
    ny: int,
    size: tuple[float, float] = (1.0, 1.0),
    comm: Any = MPI.COMM_SELF,
    cell: Any = mesh.CellType.triangle,
    degree: int = 1,
) -> Any:
    """Lagrange space on a rectangle."""
    domain = mesh.create_rectangle(comm, ((0.0, 0.0), size), (nx, ny), cell)
    return fem.functionspace(domain, ("Lagrange", degree))


def order(V: Any) -> NDArray[np.int64]:
    """Dofs of a serial scalar space in lexicographic order of their points, the first coordinate first."""
    return np.lexsort(np.round(V.tabulate_dof_coordinates(), 9).T[::-1])


def dense(operator: Callable[[Array], Array], size: int) -> Array:
    """Matrix of an operator on serial blocks."""
    return operator(np.eye(size))


def in_order(covariance: Covariance, operator: Callable[[Array], Array]) -> Array:
    """Matrix of an operator of a serial covariance, rows and columns in the order of the points."""
    number = order(covariance.V)
    return dense(operator, covariance.blocks.size)[np.ix_(number, number)]


def p1(nodes: Array) -> tuple[Array, Array]:
    """Mass and stiffness matrix of P1 on an interval, by hand."""
    mass, stiffness = np.zeros((2, nodes.size, nodes.size))
    for i, h in enumerate(np.diff(nodes)):
        mass[i : i + 2, i : i + 2] += h / 6 * np.array([[2, 1], [1, 2]])
        stiffness[i : i + 2, i : i + 2] += 1 / h * np.array([[1, -1], [-1, 1]])
    return mass, stiffness
