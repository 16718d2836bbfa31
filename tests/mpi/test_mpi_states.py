"""State form, Gauss-Newton system and Levenberg-Marquardt on all ranks against the same on one."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action, random_control

from fem_deepest.action.network.bijection import to_forcing, to_states
from fem_deepest.action.network.states import StateAction
from fem_deepest.solve.network.dataspace import DataSpace
from fem_deepest.solve.network.gauss_newton import GaussNewton
from fem_deepest.solve.network.levenberg import levenberg
from fem_deepest.solve.network.schur import WeightSchur

WORLD = MPI.COMM_WORLD

OPTIONS = {
    "midpoint": {"scheme_name": "midpoint"},
    "euler-lift-soft": {"R_0": 3.0, "lift": "linear"},
    "squares-pad-interval": {
        "loss": "least_squares",
        "readout": "pad",
        "index": "interval",
        "scheme_name": "midpoint",
    },
}
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
# One sample alone leaves ranks without any.
counts = pytest.mark.parametrize("count", [1, 13])
SOLVERS = {"data": DataSpace, "pcg": partial(WeightSchur, tolerance=1e-12)}
solvers = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


def _both(count, **options):
    return tuple(
        StateAction(network_action(**({"comm": comm, "R_f": 7.0, "count": count} | options)))
        for comm in (WORLD, MPI.COMM_SELF)
    )


def _gathered(v):
    """All entries in the order of the numbering, on every rank."""
    return np.concatenate(WORLD.allgather(v.array_r.copy()))


def _close(mine, alone, rtol=1e-12):
    np.testing.assert_allclose(
        _gathered(mine), alone.array_r, rtol=0.0, atol=rtol * np.abs(alone.array_r).max()
    )


@counts
@all_options
def test_value_and_derivatives(options, count):
    results = []
    for action in _both(count, **options):
        u, d = random_control(action, 1), random_control(action, 2)
        g, h, p, q = (action.create() for _ in range(4))
        value = action.gradient(u, g)
        assert action.value(u) == value
        action.hessian(u, d, h)
        action.metric.apply(d, p)
        action.metric.solve(d, q)
        assert len(set(WORLD.allgather(value))) == 1
        results.append((value, [g, h, p, q]))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-14)
    for mine, alone in zip(results[0][1], results[1][1], strict=True):
        _close(mine, alone)


@all_options
def test_the_bijection(options):
    parallel, serial = _both(13, **options)
    for action in (parallel, serial):
        v = random_control(action.forcing, 1)
        back = to_forcing(action, to_states(action, v))
        np.testing.assert_allclose(back.array, v.array, rtol=0.0, atol=1e-12)
    _close(*(to_states(action, random_control(action.forcing, 1)) for action in (parallel, serial)))


@counts
@all_options
@solvers
def test_the_gauss_newton_system(options, count, solver):
    results = []
    for action in _both(count, **options):
        u, r = random_control(action, 1), random_control(action, 2)
        d, p = action.create(), action.create()
        system = GaussNewton(action, u, solver)
        system.solve(r, d, 1.5)
        system.damping(r, p)
        trial = u.copy()
        trial.axpy(0.1, r)
        system.correct(u, r, trial)
        results.append((system.solver.iterations, d, p, trial))
    assert results[0][0] == results[1][0]
    for mine, alone in zip(results[0][1:], results[1][1:], strict=True):
        _close(mine, alone, 1e-9)


@solvers
def test_levenberg_makes_the_same_steps(solver):
    seen = []
    for action in _both(13, strength=1e-1, neurons=3, cells=2, loss="least_squares"):
        u, steps = random_control(action, 1, 0.1), []
        outcome = levenberg(
            action,
            u,
            tolerance=1e-6,
            iterations=300,
            solver=solver,
            monitor=lambda i, steps=steps: steps.append(i.action),
        )
        assert outcome.converged
        assert len(set(WORLD.allgather(steps[-1]))) == 1
        seen.append((outcome.iterations, steps, u))
    np.testing.assert_allclose(seen[0][1][:5], seen[1][1][:5], rtol=1e-9)
    assert seen[0][1][-1] == pytest.approx(seen[1][1][-1], rel=1e-12)
    _close(seen[0][2], seen[1][2], 1e-4)


def test_the_strong_constraint():
    results = []
    for comm in (WORLD, MPI.COMM_SELF):
        action = network_action(comm=comm, count=13, strength=1e-1)
        u = random_control(action, 1, 0.1)
        assert levenberg(action, u, tolerance=1e-9, iterations=300).converged
        results.append(u)
    _close(*results, 1e-7)
