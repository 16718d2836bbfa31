"""Sampled paths of the stochastic heat equation on (0,1), on meshes of one rank each."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.hierarchy import Nested
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spde.coupled import Coarse, CoupledPaths
from fem_deepest.spde.modal import ModalHeat
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import Theta

Array = NDArray[np.float64]

# For tridiagonal matrices of a few hundred rows: MUMPS takes three times as long.
_SOLVER = {"ksp_type": "preonly", "pc_type": "lu", "pc_factor_mat_solver_type": "petsc"}


@lru_cache(maxsize=64)
def space(cells: int) -> Any:
    """P1 on a uniform mesh of (0,1), on this rank alone."""
    return fem.functionspace(
        mesh.create_interval(MPI.COMM_SELF, cells, (0.0, 1.0)), ("Lagrange", 1)
    )


def scheme(heat: ModalHeat, cells: int, theta: float, noise: tuple[int, int] | None) -> Theta:
    """Theta steps of the equation.

    Args:
        heat: The equation.
        cells: ``N``.
        theta: 1 backward Euler, 1/2 Crank-Nicolson.
        noise: Seed and stream, or none where the noise comes from a finer mesh.

    Not collective.
    """
    V = space(cells)
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    A = heat.nu * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx
    if heat.c:
        A += heat.c * u * v * ufl.dx
    x = _compat.dof_coordinates(V)
    ends = np.flatnonzero((x < 1e-12) | (x > 1.0 - 1e-12)).astype(np.int32)
    driven = None
    if noise is not None:
        driven = QWiener(_covariance(heat, V), WhiteNoise(V, noise[0], noise[1]))
    problem = SemilinearSPDE(V, A=A, noise=driven, bcs=[fem.dirichletbc(0.0, ends, V)])
    return Theta(problem, theta, options=_SOLVER)


def coupled(
    heat: ModalHeat,
    finest: tuple[int, int],
    coarser: Sequence[tuple[int, int]],
    seed: int,
    stream: int = 0,
) -> CoupledPaths:
    """Backward Euler solutions of the same paths, ``(cells, steps)`` each. Not collective.

    Args:
        heat: The equation.
        finest: The fine solution.
        coarser: The others.
        seed: Seed of the noise.
        stream: Its stream.
    """
    cells, steps = finest
    fine = scheme(heat, cells, 1.0, (seed, stream))
    others = []
    for cells_c, steps_c in coarser:
        coarse = scheme(heat, cells_c, 1.0, None)
        within = None if cells_c == cells else Nested(coarse.problem.V, fine.problem.V)
        others.append(Coarse(coarse, steps_c, within))
    return CoupledPaths(fine, heat.T, steps, others)


def point_value(V: Any, U: Array) -> Array:
    """The solutions in the middle of the interval, (S,). Not collective."""
    return U[int(np.argmin(np.abs(_compat.dof_coordinates(V) - 0.5)))]


def square(problem: SemilinearSPDE, U: Array) -> Array:
    """``|U|^2`` in L2, (S,). Not collective."""
    return problem.inner(U, problem.mass(U))


def _covariance(heat: ModalHeat, V: Any) -> Covariance:
    if heat.modes is None:
        return WhiteCovariance(V)
    return KarhunenLoeve(V, PowerLaw(heat.a, scale=float(np.pi ** (2.0 * heat.a))), heat.modes)
