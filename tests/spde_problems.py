"""Equations and increments that the tests of SPDEs share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.spde.problem import SemilinearSPDE


@dataclass
class Given:
    """An increment that the test makes up."""

    load: Any = None
    points: Any = None
    modes: Any = None
    field: Any = field(default=None)


def interval(cells: int, degree: int = 1, comm: MPI.Intracomm = MPI.COMM_SELF) -> Any:
    return fem.functionspace(mesh.create_unit_interval(comm, cells), ("Lagrange", degree))


def laplace(V: Any) -> ufl.Form:
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    return ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx


def clamped(V: Any, value: float = 0.0) -> Any:
    """Dirichlet condition on the whole boundary."""
    domain = V.mesh
    domain.topology.create_connectivity(domain.topology.dim - 1, domain.topology.dim)
    facets = mesh.exterior_facet_indices(domain.topology)
    dofs = fem.locate_dofs_topological(V, domain.topology.dim - 1, facets)
    return fem.dirichletbc(value, dofs, V)


def sine(V: Any, j: int = 1) -> fem.Function:
    """``e_j = sqrt(2) sin(j pi x)``, an eigenvector of P1 on a uniform mesh."""
    e = fem.Function(V)
    e.interpolate(lambda x: np.sqrt(2.0) * np.sin(j * np.pi * x[0]))
    return e


def discrete_eigenvalue(cells: int, j: int = 1) -> float:
    """``lambda_j^h`` of P1 on a uniform mesh of the unit interval."""
    h = 1.0 / cells
    c = np.cos(j * np.pi * h)
    return float(6.0 / h**2 * (1.0 - c) / (2.0 + c))


def heat(cells: int = 16, **more: Any) -> SemilinearSPDE:
    """The heat equation on the unit interval with both ends clamped, from the first mode."""
    V = interval(cells)
    return SemilinearSPDE(V, A=laplace(V), bcs=[clamped(V)], u0=sine(V), **more)


def coefficient(problem: SemilinearSPDE, U: Any) -> Any:
    """Coefficients of the first mode in L2, (S,)."""
    e = problem.blocks.of(problem.u0)
    return (problem.mass(e).T @ U)[0] / float((problem.mass(e).T @ e)[0, 0])


def matrices(problem: SemilinearSPDE) -> tuple[Any, Any, Any]:
    """Dense ``M``, ``K`` of the free dofs, and their numbers; assembled by DOLFINx."""
    V = problem.V
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    mass = fem.assemble_matrix(fem.form(ufl.inner(u, v) * ufl.dx)).to_dense()
    stiff = fem.assemble_matrix(fem.form(laplace(V))).to_dense()
    free = np.setdiff1d(np.arange(len(mass)), problem.fixed)
    return mass[np.ix_(free, free)], stiff[np.ix_(free, free)], free
