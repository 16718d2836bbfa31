"""Actions in UFL on all ranks against the same on one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.errors import InputError, NotConverged
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.stationary import stationary
from fem_deepest.spaces.constrained import Clamped

WORLD = MPI.COMM_WORLD


def _line(comm: MPI.Intracomm, periodic: bool = False, constant: bool = False) -> FormAction:
    """A state of two components in P2 and a weight in P1."""
    domain = mesh.create_interval(comm, 12, (0.0, 1.5))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 2, (2,))), name="x")
    w = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="w")
    defect = x.dx(0) - ufl.as_vector([ufl.tanh(w * x[0] + x[1]), ufl.sin(w) - x[0] * x[1]])
    return FormAction(
        2.0 * ufl.inner(defect, defect),
        (x, w),
        ends=(None, 0.5 * (x[0] - 1.0) ** 2),
        clamped=[] if periodic else [Clamped(x, "start")],
        periodic=periodic,
        constant=[w] if constant else [],
        terms=0.5 * (w**2 + w.dx(0) ** 2) * ufl.dx,
    )


def _rectangle(comm: MPI.Intracomm, periodic: bool = False) -> FormAction:
    domain = mesh.create_rectangle(
        comm, [[0.0, 0.0], [1.5, 2.0]], [6, 5], mesh.CellType.quadrilateral
    )
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name="x")
    defect = x.dx(0) - ufl.tanh(x.dx(1) + 0.5 * x)
    clamped = [] if periodic else [Clamped(x, "start")]
    L, end = 0.5 * defect**2 + 0.1 * x**2, ufl.ln(1.0 + x**2)
    return FormAction(L, x, ends=(None, end), clamped=clamped, periodic=periodic)


ACTIONS = {
    "line": _line,
    "line-periodic": lambda comm: _line(comm, True),
    "line-constant": lambda comm: _line(comm, constant=True),
    "rectangle": _rectangle,
    "rectangle-periodic": lambda comm: _rectangle(comm, True),
}
all_actions = pytest.mark.parametrize("make", ACTIONS.values(), ids=ACTIONS.keys())


def _set(action: FormAction, phase: float) -> PETSc.Vec:
    """The same functions on any number of ranks; periodic in depth."""
    for number, x in enumerate(action.unknowns):

        def values(s: np.ndarray, number: int = number) -> np.ndarray:
            angle = 2.0 * np.pi * s[0] / 1.5 + phase + number
            return np.array([np.cos(angle) + 0.1 * s[1], np.sin(angle)])

        scalar = x.function_space.num_sub_spaces == 0
        x.interpolate((lambda s, f=values: f(s)[0]) if scalar else values)
    return action.pack()


def _numbers(make: Any, comm: MPI.Intracomm) -> tuple[list[float], int]:
    """What does not depend on the numbering."""
    action = make(comm)
    u, d = _set(action, 0.3), _set(action, 1.7)
    g, r, s = action.create(), action.create(), action.create()
    numbers = [action.gradient(u, g), action.value(u), g.dot(d)]
    action.hessian(u, d, r)
    action.second_variation(u).mult(d, s)
    numbers += [d.dot(r), d.dot(s), g.dot(s), dual_norm(action.metric, g)]
    action.metric.apply(d, r)
    numbers.append(d.dot(r))
    action.metric.solve(r, s)
    s.axpy(-1.0, d)
    assert s.norm() < 1e-10 * d.norm()
    factors = Factorisation(action.second_variation(u))
    numbers += factors.inertia
    factors.destroy()
    return numbers, u.getSize()


@all_actions
def test_derivatives_metric_and_inertia_are_those_of_one_rank(make: Any) -> None:
    numbers, size = _numbers(make, WORLD)
    expected, expected_size = _numbers(make, MPI.COMM_SELF)
    assert size == expected_size
    np.testing.assert_allclose(numbers, expected, rtol=1e-11, atol=1e-12)
    assert len(set(WORLD.allgather(numbers[0]))) == 1  # the value, to the bit


@all_actions
def test_stationary_point_is_that_of_one_rank(make: Any) -> None:
    found = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = make(comm)
        u, g = _set(action, 0.3), action.create()
        u.scale(0.1)
        stationary(action, u, tolerance=1e-10)
        assert action.gradient(u, g) == pytest.approx(action.value(u), abs=1e-14)
        action.metric.apply(u, g)
        found.append([action.value(u), u.dot(g)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8, atol=1e-8)


def test_functions_are_filled_on_all_ranks() -> None:
    action = _line(WORLD)
    u = _set(action, 0.3)
    before = [x.x.array.copy() for x in action.unknowns]
    for x in action.unknowns:
        x.x.array[:] = 0.0
    action.unpack(u)
    action.unpack(u)
    # The clamped start keeps the values it had when the action was made: zero.
    clamped = np.isclose(action.unknowns[0].function_space.tabulate_dof_coordinates()[:, 0], 0.0)
    before[0].reshape(-1, 2)[clamped] = 0.0
    for x, values in zip(action.unknowns, before, strict=True):
        np.testing.assert_array_equal(x.x.array, values)


def test_refusals_and_singular_systems_are_those_of_all_ranks() -> None:
    domain = mesh.create_interval(WORLD, 8, (0.0, 1.0))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 1, (2,))), name="x")
    kinetic = 0.5 * ufl.inner(x.dx(0), x.dx(0))
    with pytest.raises(InputError, match="no end condition"):
        FormAction(kinetic, x)
    with pytest.raises(InputError, match="no boundary facet"):
        FormAction(kinetic, x, clamped=[Clamped(x, lambda s: s[0] > 5.0)])
    x.interpolate(lambda s: np.array([s[0], s[0] ** 2]))
    action = FormAction(kinetic + 0.5 * (x[0] - x[1]) ** 2, x)
    with pytest.raises(NotConverged, match="singular: 1 of its 18"):
        stationary(action, action.pack(), tolerance=1e-10)
