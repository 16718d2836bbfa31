"""Annealed flows on several ranks: draws, steps and exchanges are those of one rank."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from landscapes import Well
from mpi4py import MPI
from numpy.typing import NDArray
from problems import Bare, network_action
from weak_problems import twin

from fem_deepest.action.form.action import FormAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.states import StateAction
from fem_deepest.action.weak.forms import make_form
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.minibatch import MinibatchLandscape
from fem_deepest.annealed.replicas import Replicas
from fem_deepest.annealed.schedule import Geometric
from fem_deepest.annealed.search import Descent
from fem_deepest.annealed.timestepper import FlowStepper
from fem_deepest.errors import InputError
from fem_deepest.noise.hierarchy import refine
from fem_deepest.spaces.constrained import Clamped

WORLD = MPI.COMM_WORLD
Array = NDArray[np.float64]
COLD = Geometric(1.0, 0.1, 6)


def plane(comm: MPI.Intracomm) -> FormAction:
    """On a refined mesh, whose cells count their vertices as the partition has it."""
    domain = refine(mesh.create_unit_square(comm, 3, 2))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 2)))
    prior = x**2 + ufl.inner(ufl.grad(x), ufl.grad(x))
    return FormAction(
        prior + ufl.cos(3 * x), x, metric=prior, points=3, clamped=[Clamped(x, "start")]
    )


def vectors(comm: MPI.Intracomm) -> FormAction:
    """Two components and a field that varies; P1 and P2, on an interval."""
    domain = mesh.create_interval(comm, 7, (0.0, 1.0))
    x = fem.Function(fem.functionspace(domain, ("Lagrange", 2, (2,))))
    w = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    prior = ufl.inner(x, x) + ufl.inner(x.dx(0), x.dx(0)) + w**2 + w.dx(0) ** 2 + x[0] * w
    return FormAction(prior + ufl.cos(3 * x[1]), [x, w], metric=prior)


def by_place(action: FormAction, block: Array) -> Array:
    """Values at all dofs of all components, ordered by their coordinates; the same on every rank."""
    u, found = action.create(), []
    for s in range(block.shape[1]):
        u.array[...] = block[:, s]
        action.unpack(u)
        rows = []
        for number, x in enumerate(action.unknowns):
            V = x.function_space
            own = V.dofmap.index_map.size_local
            place = np.round(V.tabulate_dof_coordinates()[:own], 12)
            values = x.x.array.reshape(-1, V.dofmap.index_map_bs)[:own]
            rows += [(number, *p, *v) for p, v in zip(place, values, strict=True)]
        everywhere = sorted(row for part in action.comm.allgather(rows) for row in part)
        found.append([v for row in everywhere for v in row[4:]])
    return np.array(found).T


def by_number(landscape: ActionLandscape, block: Array) -> Array:
    return np.concatenate(landscape.comm.allgather(block))


def flowed(landscape: Any, numbers: list[int], **more: Any) -> AnnealedFlow:
    U0 = landscape.draw(5, 0, numbers, 7)
    more = {"step": 0.3} | more
    flow = AnnealedFlow(landscape, COLD, U0=U0, numbers=numbers, seed=1, **more)
    moved = 0.0
    for _ in range(6):
        flow.advance()
        moved += flow.acceptance.min()
    assert moved > 0.0
    return flow


@pytest.mark.parametrize("make", [plane, vectors])
def test_forms(make: Any) -> None:
    """Draws and flows to rounding, dof by dof."""
    many, one = make(WORLD), make(MPI.COMM_SELF)
    numbers = [3, 0]
    for a in (lambda L: L.draw(1, 2, numbers), lambda L: flowed(L, numbers, accept="contour").U):
        there, here = (by_place(action, a(ActionLandscape(action))) for action in (many, one))
        np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-11 * np.abs(here).max())


def test_white_noise_on_an_interval() -> None:
    many, one = vectors(WORLD), vectors(MPI.COMM_SELF)
    there, here = (
        by_place(action, flowed(ActionLandscape(action), [2], noise="white").U)
        for action in (many, one)
    )
    np.testing.assert_allclose(there, here, rtol=1e-9, atol=1e-11 * np.abs(here).max())


@pytest.mark.parametrize("kind", ["strong", "soft", "states", "batches"])
def test_networks(kind: str) -> None:
    """With the strong constraint bit for bit; forcings and states belong to other ranks, to rounding."""

    def landscape(comm: MPI.Intracomm) -> ActionLandscape:
        soft = {"R_f": 3.0, "R_0": 5.0} if kind in ("soft", "states") else {}
        action = network_action(comm=comm, count=14, **soft)
        if kind == "batches":
            return MinibatchLandscape(Minibatches(action, 6, 2), [4, 1])
        return ActionLandscape(StateAction(action) if kind == "states" else action)

    many, one = landscape(WORLD), landscape(MPI.COMM_SELF)
    draws = [by_number(L, L.draw(1, 2, [4, 1])) for L in (many, one)]
    np.testing.assert_array_equal(*draws)
    accept = "always" if kind == "batches" else "metropolis"
    step = 0.3 if kind in ("strong", "batches") else 0.02
    flows = [flowed(L, [4, 1], accept=accept, step=step) for L in (many, one)]
    ends = [by_number(L, flow.U) for L, flow in zip((many, one), flows, strict=True)]
    if kind in ("strong", "batches"):
        np.testing.assert_array_equal(*ends)
        np.testing.assert_array_equal(flows[0].best.values, flows[1].best.values)
    else:
        np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(flows[0].values, WORLD.bcast(flows[0].values, root=0))


@pytest.mark.parametrize("form", ["state", "forcing"])
def test_weak_forms(form: str) -> None:
    many, one = (ActionLandscape(make_form(form, twin()[0], c)) for c in (WORLD, MPI.COMM_SELF))
    for a in (lambda L: L.draw(1, 2, [3, 0]), lambda L: flowed(L, [3, 0], step=1e-3).U):
        there, here = by_number(many, a(many)), a(one)
        np.testing.assert_allclose(there, here, rtol=1e-8, atol=1e-10 * np.abs(here).max())


@pytest.mark.skipif(WORLD.size == 1, reason="on one rank a banded factor serves any metric")
def test_a_metric_without_a_root_is_refused() -> None:
    action = plane(WORLD)
    bare = Bare(action)
    bare.metric = type("Map", (), {"apply": action.metric.apply, "solve": action.metric.solve})()
    with pytest.raises(InputError, match="attribute root"):
        ActionLandscape(bare)


def test_ts_of_a_spread_action() -> None:
    ends = []
    for comm in (WORLD, MPI.COMM_SELF):
        landscape = ActionLandscape(network_action(comm=comm))
        flow = AnnealedFlow(landscape, COLD, step=0.3, U0=landscape.draw(5, 0, [0]))
        stepper = FlowStepper(flow, 4)
        ends.append(by_number(landscape, stepper.solve().U))
        stepper.destroy()
    np.testing.assert_array_equal(*ends)


def test_replicas_do_not_depend_on_the_ranks() -> None:
    theta = np.geomspace(0.1, 1.0, 7)

    def run(comm: MPI.Intracomm) -> Replicas:
        replicas = Replicas(
            lambda: Well(3.0, 0.2),
            theta,
            lambda numbers: np.linspace(-1.0, 1.0, 7)[numbers][None],
            step=0.4,
            every=2,
            batch=2,
            comm=comm,
        )
        for _ in range(10):
            replicas.advance()
        return replicas

    many, one = run(WORLD), run(MPI.COMM_SELF)
    np.testing.assert_array_equal(many.gathered(), one.gathered())
    np.testing.assert_array_equal(many.values(), one.values())
    np.testing.assert_array_equal(many.at, one.at)
    np.testing.assert_array_equal(many.best().values, one.best().values)
    assert (many.at != np.arange(7)).any()
    descend = lambda: lambda U: Descent(U, U[0], U[0] > 0.0, np.ones(U.shape[1]))  # noqa: E731
    for a, b in zip(many.search(12, descend), one.search(12, descend), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_error_of_one_replica_is_raised_on_all() -> None:
    def make() -> Well:
        if WORLD.rank == WORLD.size - 1:
            raise InputError("the last rank does not want to")
        return Well()

    with pytest.raises(InputError, match="does not want to"):
        Replicas(
            make, np.array([1.0, 2.0, 3.0]), lambda n: np.zeros((1, n.size)), step=0.1, batch=1
        )
