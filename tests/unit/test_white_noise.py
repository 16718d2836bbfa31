"""White noise on finite element spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.noise.white import WhiteNoise

COMM = MPI.COMM_SELF
CELLS = mesh.CellType


def _domain(name: str) -> mesh.Mesh:
    kind, _, bent = name.partition("-")
    match kind:
        case "interval":
            domain = mesh.create_interval(COMM, 7, (0.0, 2.0))
        case "triangle" | "quadrilateral":
            domain = mesh.create_rectangle(COMM, [[0, 0], [1, 2]], [3, 4], getattr(CELLS, kind))
        case _:
            domain = mesh.create_box(COMM, [[0, 0, 0], [1, 2, 1]], [2, 1, 2], getattr(CELLS, kind))
    if bent:  # quadrilaterals and hexahedra that are not affine, simplices of all sizes
        x = domain.geometry.x
        x[:, 0] += 0.2 * x[:, 0] * (1.0 + x[:, 1]) * (0.5 + x[:, 2])
    return domain


def _mass(V: Any, degree: int) -> np.ndarray:
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    dx = ufl.dx(metadata={"quadrature_degree": 2 * degree + 3})
    return fem.assemble_matrix(fem.form(ufl.inner(u, v) * dx)).to_dense()


ELEMENTS: list[Any] = [
    ("Lagrange", 1),
    ("Lagrange", 2),
    ("Lagrange", 3),
    ("DG", 0),
    ("DG", 1),
    ("Lagrange", 2, (2,)),
]


@pytest.mark.parametrize("element", ELEMENTS, ids=str)
@pytest.mark.parametrize(
    "name",
    [
        "interval",
        "interval-bent",
        "triangle-bent",
        "quadrilateral",
        "quadrilateral-bent",
        "tetrahedron-bent",
        "hexahedron",
        "hexahedron-bent",
    ],
)
def test_the_factor_reproduces_the_mass_matrix(name: str, element: Any) -> None:
    V = fem.functionspace(_domain(name), element)
    white = WhiteNoise(V, 0)
    B = np.kron(white.factor.toarray(), np.eye(white.blocks.bs))
    M = _mass(V, element[1])
    assert np.abs(B @ B.T - M).max() < 1e-14 * np.abs(M).max()
