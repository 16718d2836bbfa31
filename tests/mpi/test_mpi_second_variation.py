"""Second variation and deflation on all ranks against the same on one."""

from __future__ import annotations

import numpy as np
import pytest
from dolfinx import fem, mesh
from mpi4py import MPI
from problems import network_action, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.action.network.curvature import MisfitCurvature
from fem_deepest.solve.conjugate import conjugate_points
from fem_deepest.solve.eigenvalues import lowest_eigenvalues, morse_index
from fem_deepest.solve.solutions import stationary_points
from fem_deepest.spaces.constrained import Clamped

WORLD = MPI.COMM_WORLD


def _double_well(comm: MPI.Intracomm, mu: float) -> FormAction:
    domain = mesh.create_interval(comm, 24, (0.0, 1.0))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 2)), name="x")
    L = 0.5 * x.dx(0) ** 2 + 0.25 * mu * (1.0 - x**2) ** 2
    return FormAction(L, x, clamped=[Clamped(x, "start"), Clamped(x, "end")])


def _starts(action: FormAction) -> list[PETSc.Vec]:
    x, starts = action.unknowns[0], []
    for k in (1, 2, 3):
        x.interpolate(lambda s, k=k: 0.1 * np.sin(k * np.pi * s[0]))
        starts.append(action.pack())
    return starts


def test_double_well_has_five_solutions() -> None:
    action = _double_well(WORLD, (2.4 * np.pi) ** 2)
    found = stationary_points(action, _starts(action), tolerance=1e-9)
    assert sorted(solution.morse.index for solution in found) == [0, 0, 1, 1, 2]
    alone = _double_well(MPI.COMM_SELF, (2.4 * np.pi) ** 2)
    expected = stationary_points(alone, _starts(alone), tolerance=1e-9)
    np.testing.assert_allclose(
        [(s.action, s.morse.lowest) for s in found],
        [(s.action, s.morse.lowest) for s in expected],
        rtol=1e-7,
        atol=1e-9,
    )


def test_conjugate_points_are_the_same_on_every_rank() -> None:
    points = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = _double_well(comm, (2.4 * np.pi) ** 2)
        points.append(conjugate_points(action, action.create()))
    assert points[0].index == 2
    np.testing.assert_allclose(points[0].points, points[1].points, rtol=1e-10)
    np.testing.assert_allclose(
        points[0].determinants, points[1].determinants, rtol=1e-9, atol=1e-12
    )
    assert len(set(WORLD.allgather(tuple(points[0].points)))) == 1


@pytest.mark.parametrize("R_f", [np.inf, 5.0])
def test_eigenvalues_of_a_network(R_f: float) -> None:
    values = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = network_action(comm=comm, R_f=R_f, neurons=3, cells=2, count=13)
        u = random_control(action, 3)
        spectrum = lowest_eigenvalues(action, u, 3)
        values.append(spectrum.values)
        spectrum.destroy()
        index = morse_index(action, u)
        assert len(set(WORLD.allgather(index.index))) == 1
    np.testing.assert_allclose(values[0], values[1], rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("count", [2, 13])
@pytest.mark.parametrize("R_f", [np.inf, 5.0])
def test_bounds_of_the_misfit_are_those_of_one_rank(count: int, R_f: float) -> None:
    parallel, serial = (
        MisfitCurvature(network_action(comm=comm, count=count, loss="least_squares", R_f=R_f))
        for comm in (WORLD, MPI.COMM_SELF)
    )
    assert parallel.bound(9.0) == pytest.approx(serial.bound(9.0), rel=1e-12)
    assert len(set(WORLD.allgather(parallel.threshold()))) == 1
