"""The linear weak-constraint problem by finite elements."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest.studies.linear import LinearProblem

Array = NDArray[np.float64]


def finite_element(problem: LinearProblem, degree: int, cells: int) -> tuple[Array, Array]:
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, problem.depth))
    space = fem.functionspace(domain, ("Lagrange", degree))
    t = ufl.SpatialCoordinate(domain)[0]
    u, v = ufl.TrialFunction(space), ufl.TestFunction(space)
    dx = ufl.Measure("dx", domain, metadata={"quadrature_degree": 2 * degree - 1})
    a = (
        problem.R_f * (u.dx(0) + problem.rate * u) * (v.dx(0) + problem.rate * v)
        + problem.R_m * u * v
    ) * dx
    l = problem.R_m * ufl.cos(problem.frequency * t) * v * dx
    A = _compat.assembled(a)
    b = fem.assemble_vector(fem.form(l)).array
    x = _compat.dof_coordinates(space)
    order = np.argsort(x)
    values = np.linalg.solve(A, b)
    return x[order], values[order]
