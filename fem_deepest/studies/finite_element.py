"""The linear weak-constraint problem by finite elements: a Lagrangian in UFL, and one linear solve."""

from __future__ import annotations

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest.action.form.action import FormAction
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.spaces.axis import END, START
from fem_deepest.spaces.constrained import Clamped
from fem_deepest.studies.linear import LinearProblem

Array = NDArray[np.float64]


def finite_element(problem: LinearProblem, degree: int, cells: int) -> tuple[Array, Array]:
    """P_k minimiser of the action on equal cells, with the k-point Gauss rule.

    The action is quadratic, so Newton's first step ends at the minimiser.

    Args:
        problem: The problem.
        degree: ``k``.
        cells: Number of cells.

    Returns:
        Nodes in depth order and values there, each (cells k + 1,).

    Not collective: every rank solves the whole problem.
    """
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, problem.depth))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", degree)))
    nodes = _compat.dof_coordinates(x.function_space)
    order = np.argsort(nodes)
    clamped = []
    for where, node, value in ((START, 0, problem.left), (END, -1, problem.right)):
        if value is not None:
            x.x.array[order[node]] = value
            clamped.append(Clamped(x, where))
    # Constants, so that no form is compiled anew for other numbers.
    rate, R_f, R_m, omega = (
        fem.Constant(domain, float(c))
        for c in (problem.rate, problem.R_f, problem.R_m, problem.frequency)
    )
    y = ufl.cos(omega * ufl.SpatialCoordinate(domain)[0])
    L = R_f / 2 * (x.dx(0) + rate * x) ** 2 + R_m / 2 * (x - y) ** 2
    action = FormAction(L, x, clamped=clamped)
    u, g, step = action.pack(), action.create(), action.create()
    action.gradient(u, g)
    factors = Factorisation(action.second_variation(u))
    factors.solve(g, step)
    u.axpy(-1.0, step)
    action.unpack(u)
    for thing in (factors, u, g, step):
        thing.destroy()
    return nodes[order], x.x.array[order].copy()
