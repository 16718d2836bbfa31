"""Action, derivatives and solvers on all ranks against the same on one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import network_action, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.newton import polish

WORLD = MPI.COMM_WORLD

OPTIONS = {
    "strong-clamped": {},
    "strong-clamped-lift-interval": {
        "lift": "linear",
        "index": "interval",
        "loss": "least_squares",
    },
    "weak": {"R_f": 5.0, "scheme_name": "rk2"},
    "soft": {"R_0": 4.0, "activation_name": "sigmoid"},
    "low-rank": {"coupling": partial(LowRank, rank=2), "index": "lumped", "ell": 0.3, "R_f": 5.0},
    "weak-soft-midpoint": {"R_f": 5.0, "R_0": 4.0, "scheme_name": "midpoint", "leak": 0.2},
    "weak-lumped-ell": {"R_f": 5.0, "lift": "linear", "index": "lumped", "ell": 0.4},
    "strong-consistent-ell": {"index": "consistent", "ell": 0.4, "scheme_name": "rk2"},
}
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
# One sample for each rank at most, an odd number, and more than one tile in a block.
counts = pytest.mark.parametrize("count", [1, 2, 13, 1600])


def _both(count: int, **options: Any) -> tuple[NetworkAction, NetworkAction]:
    """The same action on all ranks and, on every rank, on that rank alone."""
    small = {"cells": 2, "neurons": 3} if count > 100 else {}
    return tuple(  # type: ignore[return-value]
        network_action(comm=comm, count=count, **options, **small)
        for comm in (WORLD, MPI.COMM_SELF)
    )


def _gathered(v: PETSc.Vec) -> np.ndarray:
    """All entries in the order of the numbering, on every rank."""
    return np.concatenate(WORLD.allgather(v.array_r.copy()))


def _same_on_all_ranks(value: float) -> bool:
    return len(set(WORLD.allgather(value))) == 1


@counts
@all_options
def test_value_and_derivatives_have_the_bits_of_one_rank(
    options: dict[str, Any], count: int
) -> None:
    """Every entry: also the numbering does not depend on the number of ranks."""
    parallel, serial = _both(count, **options)
    products = []
    for action in (parallel, serial):
        u, d = random_control(action, 1), random_control(action, 2)
        g, h, n = action.create(), action.create(), action.create()
        value = action.value(u)
        assert action.gradient(u, g) == value
        parts = action.parts
        action.hessian(u, d, h)
        action.gauss_newton(u, d, n)
        assert _same_on_all_ranks(value)
        products.append((value, parts, u, g, h, n))
    assert products[0][:2] == products[1][:2]
    for mine, alone in zip(products[0][2:], products[1][2:], strict=True):
        np.testing.assert_array_equal(_gathered(mine), alone.array_r)


@all_options
def test_metric_is_that_of_one_rank(options: dict[str, Any]) -> None:
    parallel, serial = _both(13, **options)
    results = []
    for action in (parallel, serial):
        d, r, back = random_control(action, 1), action.create(), action.create()
        action.metric.apply(d, r)
        action.metric.solve(r, back)
        results.append((r, back, d.dot(r)))
    for mine, alone in zip(results[0][:2], results[1][:2], strict=True):
        np.testing.assert_array_equal(_gathered(mine), alone.array_r)
    # Inner products of distributed forcings are added rank by rank.
    assert results[0][2] == pytest.approx(results[1][2], rel=1e-13)


def test_parameters_lie_with_the_owner_and_are_shared() -> None:
    action = network_action(comm=WORLD, R_f=5.0, count=13)
    space, u = action.space, random_control(network_action(comm=WORLD, R_f=5.0, count=13), 3)
    assert u.getOwnershipRange()[0] == 0 or not action.grid.owner
    # A copy: a view that outlives the vector would destroy it on the owner alone.
    shared = space.share(u).copy()
    assert shared.shape == (space.parameter_size,)
    np.testing.assert_array_equal(shared, _gathered(u)[: space.parameter_size])
    per_sample = action.network.depth.cells * action.network.index.neurons
    own = space.parameter_size if action.grid.owner else 0
    assert u.getLocalSize() == own + per_sample * sum(space.tiles)
    assert WORLD.allreduce(sum(space.tiles)) == 13


def _train(action: NetworkAction) -> tuple[list[tuple[float, float]], int, np.ndarray]:
    seen: list[tuple[float, float]] = []

    def monitor(iterate: Iterate) -> None:
        seen.append((iterate.action, iterate.gradient))

    u, g = random_control(action, 1, 0.1), action.create()
    action.gradient(u, g)
    first = dual_norm(action.metric, g)
    memory = LimitedMemory(action.metric, 5)
    options: dict[str, Any] = {"monitor": monitor, "tolerance": 1e-3 * first}
    steps = minimise(action, u, memory, iterations=200, **options).iterations
    options["tolerance"] = 1e-9 * first
    outcome = polish(action, u, iterations=20, **options)
    assert outcome.converged
    parameters = action.space.share(u).copy()
    return seen, steps, parameters


@pytest.mark.parametrize("count", [2, 40])
def test_training_makes_the_same_steps(count: int) -> None:
    """Without forcings all inner products are the owner's: to the bit."""
    parallel, serial = _both(count, strength=1e-1)
    seen, steps, parameters = _train(parallel)
    expected, expected_steps, expected_parameters = _train(serial)
    assert steps == expected_steps > 3
    assert seen == expected
    np.testing.assert_array_equal(parameters, expected_parameters)
    assert _same_on_all_ranks(seen[-1][0])


def test_training_with_forcings_finds_the_same_minimum() -> None:
    parallel, serial = _both(20, strength=1e-1, R_f=10.0, R_0=10.0)
    seen, _, parameters = _train(parallel)
    expected, _, expected_parameters = _train(serial)
    # Rounding differs, so the number of steps may; the first ones agree, and the minimum does.
    np.testing.assert_allclose(seen[:5], expected[:5], rtol=1e-10)
    assert seen[-1][0] == pytest.approx(expected[-1][0], rel=1e-12)
    np.testing.assert_allclose(parameters, expected_parameters, atol=1e-6)
    assert _same_on_all_ranks(seen[-1][0])


@pytest.mark.parametrize("bad", [{"strength": -1.0}, {"count": 0}, {"neurons": 2}], ids=str)
def test_wrong_input_is_refused_on_all_ranks(bad: dict[str, Any]) -> None:
    try:
        network_action(comm=WORLD, **bad)
        refused = False
    except InputError:
        refused = True
    assert WORLD.allgather(refused) == [True] * WORLD.size


def test_an_action_that_is_not_finite_is_a_failure_on_all_ranks() -> None:
    """A sample of the last rank alone overflows; the sum over the samples tells everybody."""
    random = np.random.default_rng(16)
    z, targets = random.standard_normal((20, 3)), random.standard_normal((20, 3))
    z[-1] = 1e200
    action = network_action(comm=WORLD, loss="least_squares", data=(z, targets))
    u = random_control(action)
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(NumericalFailure):
        minimise(action, u, LimitedMemory(action.metric, 3), tolerance=1e-3, iterations=5)
    WORLD.Barrier()
    np.testing.assert_array_equal(u.array_r, random_control(action).array_r)
