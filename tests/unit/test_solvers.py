"""Solvers on problems whose minimisers are known, and on a small network."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from problems import DiagonalMetric, Quadratic, network_action, petsc_options, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.newton import polish
from fem_deepest.solve.outcome import Outcome

SPECTRUM = np.array([0.5, 1.0, 3.0, 4.0, 20.0])


def _quadratic(size: int, *, power: float = 2.0, flat: bool = False) -> Quadratic:
    """Metric like a stiffness matrix, ``m_i = i^power``; curvatures that repeat."""
    m = np.arange(1.0, size + 1.0) ** power
    return Quadratic(m, np.resize(SPECTRUM, size), flat=flat)


def _run(
    solve: Callable[..., Outcome], action: Any, u: PETSc.Vec, **options: Any
) -> tuple[Outcome, list[tuple[float, float, int]]]:
    """Outcome, and action, gradient norm and number of every iterate."""
    seen: list[tuple[float, float, int]] = []

    def monitor(iterate: Iterate) -> None:
        seen.append((iterate.action, iterate.gradient, iterate.iteration))

    if solve is minimise:
        options.setdefault("memory", LimitedMemory(action.metric, 10))
    options = {"tolerance": 1e-8, "iterations": 100} | options
    return solve(action, u, monitor=monitor, **options), seen


def _gradient_norm(action: Any, u: PETSc.Vec) -> float:
    g = action.create()
    action.gradient(u, g)
    return dual_norm(action.metric, g)


solvers = pytest.mark.parametrize("solve", [minimise, polish], ids=["minimise", "polish"])


@solvers
def test_minimum_of_a_quadratic(solve: Callable) -> None:
    action = _quadratic(40)
    u = action.create()
    outcome, seen = _run(solve, action, u)
    assert outcome.converged
    assert outcome.reason.startswith("converged_")
    assert outcome.iterations == seen[-1][2] == len(seen) - 1
    assert [number for *_, number in seen] == list(range(len(seen)))
    # |u - 1| in the metric is at most |gradient| / smallest curvature, and all m are at least one.
    np.testing.assert_allclose(u.array, 1.0, rtol=0.0, atol=1e-8 / SPECTRUM.min())
    assert seen[-1][0] == pytest.approx(action.minimum, abs=1e-15 * 1e2)
    assert seen[-1][1] <= 1e-8
    assert all(after <= before for (before, *_), (after, *_) in pairwise(seen))


@solvers
def test_the_gradient_norm_is_that_of_the_dual(solve: Callable) -> None:
    action = _quadratic(10)
    _, seen = _run(solve, action, action.create())
    g = -action.curvature  # at u = 0
    assert seen[0][1] == pytest.approx(np.sqrt(np.sum(g**2 / action.metric.m)), rel=1e-14)


@solvers
def test_no_step_from_the_minimum(solve: Callable) -> None:
    action = _quadratic(10)
    u = action.create()
    u.array[...] = 1.0
    outcome, seen = _run(solve, action, u)
    assert outcome.converged
    assert outcome.iterations == 0
    assert len(seen) == 1


def test_steps_depend_on_the_curvatures_in_the_metric_alone() -> None:
    def steps(size: int, **options: Any) -> int:
        action = _quadratic(size, **options)
        first = _gradient_norm(action, action.create())
        outcome, _ = _run(minimise, action, action.create(), tolerance=1e-6 * first, iterations=100)
        return outcome.iterations

    counts = [steps(size, power=power) for size in (50, 500, 5000) for power in (0.0, 2.0, 4.0)]
    # The first step has a given length, so that the very first iterates do depend on the size.
    assert max(counts) - min(counts) <= 3
    assert max(counts) <= 15
    # In the Euclidean metric the same problem does not converge in a hundred steps.
    assert steps(50, flat=True) == 100


@solvers
def test_newton_and_quasi_newton_stop_at_the_limit(solve: Callable) -> None:
    action = network_action(loss="least_squares")
    u = random_control(action)
    outcome, seen = _run(solve, action, u, iterations=2)
    assert outcome == Outcome(False, outcome.reason, 2)
    assert outcome.reason == {minimise: "diverged_maxits", polish: "diverged_max_it"}[solve]
    assert len(seen) == 3
    assert action.value(u) == seen[-1][0]  # the last iterate is returned


class _Cliff:
    """``A(u) = -u + u^2 / 100`` up to an edge, and no number beyond."""

    metric = DiagonalMetric(np.ones(1))

    def __init__(self, edge: float = 1.0, *, off: float = np.nan) -> None:
        self.edge, self.off = edge, off

    def create(self) -> PETSc.Vec:
        return PETSc.Vec().createMPI((1, PETSc.DETERMINE), comm=MPI.COMM_SELF)

    def value(self, u: PETSc.Vec) -> float:
        x = u.array_r[0]
        return float(-x + 0.01 * x**2) if x < self.edge else self.off

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        g.array[...] = -1.0 + 0.02 * u.array_r
        return self.value(u)

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        r.array[...] = 0.02 * d.array_r


@pytest.mark.parametrize("off", [np.nan, np.inf], ids=str)
@solvers
def test_an_action_that_is_not_finite_ends_the_solve(solve: Callable, off: float) -> None:
    action = _Cliff(edge=30.0, off=off)  # the parabola has its minimum at 50
    u = action.create()
    seen: list[float] = []
    options: dict[str, Any] = {"tolerance": 1e-8, "iterations": 50}
    if solve is minimise:
        options["memory"] = LimitedMemory(action.metric, 5)
    with pytest.raises(NumericalFailure, match=f"the action is {off}"):
        solve(action, u, monitor=lambda iterate: seen.append(iterate.u.array_r[0]), **options)
    assert seen[0] == 0.0
    assert u.array[0] == seen[-1]  # the last good iterate
    assert np.isfinite(action.value(u))
    if solve is minimise:
        assert len(seen) > 1


@solvers
def test_a_start_that_is_not_finite(solve: Callable) -> None:
    action = _Cliff()
    u = action.create()
    u.array[0] = 2.0
    with pytest.raises(NumericalFailure):
        _run(solve, action, u)
    assert u.array[0] == 2.0


@pytest.mark.parametrize("slope", [1e200, np.inf, np.nan], ids=str)
def test_a_gradient_too_large_to_be_squared_ends_the_solve(slope: float) -> None:
    """Its norm is no number: PETSc's own error becomes one that says so."""

    class Steep(_Cliff):
        def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
            g.array[...] = slope
            return 1.0

    action = Steep()
    u = action.create()
    with pytest.raises(NumericalFailure, match=r"too large|not finite"):
        _run(minimise, action, u)
    assert u.array[0] == 0.0


@solvers
def test_an_exception_of_the_monitor_ends_the_solve(solve: Callable) -> None:
    action = network_action()
    u = random_control(action)
    seen = []

    def monitor(iterate: Iterate) -> None:
        seen.append(iterate.u.array_r.copy())
        if iterate.iteration == 2:
            raise KeyboardInterrupt("enough")

    options: dict[str, Any] = {"tolerance": 1e-12, "iterations": 50}
    if solve is minimise:
        options["memory"] = LimitedMemory(action.metric, 5)
    with pytest.raises(KeyboardInterrupt, match="enough"):
        solve(action, u, monitor=monitor, **options)
    assert len(seen) == 3


def _network() -> NetworkAction:
    """Twenty samples, three classes; small enough to go far."""
    return network_action(activation_name="tanh", strength=1e-2, cells=4)


def test_training_a_network_lowers_the_action_at_every_step() -> None:
    action = _network()
    u = random_control(action, scale=0.1)
    first = _gradient_norm(action, u)
    outcome, seen = _run(minimise, action, u, tolerance=1e-3 * first, iterations=200)
    assert outcome.converged
    assert all(after < before for (before, *_), (after, *_) in pairwise(seen))
    assert _gradient_norm(action, u) == pytest.approx(seen[-1][1], rel=1e-10)
    assert seen[-1][1] <= 1e-3 * first
    assert action.value(u) == pytest.approx(seen[-1][0], rel=1e-14)
    assert action.value(u) < 0.5 * seen[0][0]


def test_a_restart_makes_the_same_steps() -> None:
    """Iterate and memory are all that is carried on."""
    action = _network()
    straight, memory = random_control(action, scale=0.1), LimitedMemory(action.metric, 5)
    _, whole = _run(minimise, action, straight, memory=memory, iterations=14)
    u, memory = random_control(action, scale=0.1), LimitedMemory(action.metric, 5)
    _, first = _run(minimise, action, u, memory=memory, iterations=8)
    outcome, second = _run(minimise, action, u, memory=memory, iterations=14, offset=8)
    assert outcome.iterations == 6
    assert [*first[:-1], *second] == whole  # to the bit; both report where they meet
    assert second[0] == first[-1]
    np.testing.assert_array_equal(u.array, straight.array)


@pytest.mark.parametrize("R_f", [np.inf, 10.0], ids=["strong", "weak"])
def test_newton_converges_superlinearly_on_a_network(R_f: float) -> None:
    action = network_action(strength=1e-1, R_f=R_f)
    u = random_control(action, scale=0.1)
    first = _gradient_norm(action, u)
    # Close enough for the last phase: the valley of this small network is long and flat.
    outcome, _ = _run(minimise, action, u, tolerance=1e-5 * first, iterations=500)
    assert outcome.converged
    outcome, seen = _run(polish, action, u, tolerance=1e-10 * first, iterations=20)
    assert outcome == Outcome(True, "converged_fnorm_abs", len(seen) - 1)
    assert _gradient_norm(action, u) <= 1e-10 * first
    assert outcome.iterations <= 6
    norms = [norm for _, norm, _ in seen]
    # The linear solves stop at sqrt|g| relative, so the order is 3/2 and not 2, and none goes much
    # below the tolerance. With a wrong Hessian the rate would be linear.
    for before, after in list(pairwise(norms))[-3:]:
        assert after < 5.0 * max(before**1.5, 1e-11 * first)
    # All slopes are down: it is a minimum, to rounding, in random directions.
    d, r = random_control(action, 9), action.create()
    action.hessian(u, d, r)
    assert d.dot(r) > 0.0


def test_newton_and_quasi_newton_meet() -> None:
    action = network_action(strength=1e-1)
    u = random_control(action, scale=0.1)
    first = _gradient_norm(action, u)
    _run(minimise, action, u, tolerance=1e-3 * first, iterations=500)
    v = u.copy()
    _run(polish, action, v, tolerance=1e-9 * first, iterations=20)
    outcome, _ = _run(minimise, action, u, tolerance=1e-7 * first, iterations=2000)
    assert outcome.converged
    # The action is quadratic there: an error of 1e-7 |g| shows in its 14th digit.
    assert action.value(u) == pytest.approx(action.value(v), rel=1e-11)


def test_options_of_petsc_are_obeyed() -> None:
    action = _network()
    with petsc_options(tao_max_it=3):
        outcome, _ = _run(minimise, action, random_control(action))
    assert outcome == Outcome(False, "diverged_maxits", 3)
    with petsc_options(snes_max_it=1):
        outcome, _ = _run(polish, action, random_control(action))
    assert outcome == Outcome(False, "diverged_max_it", 1)


@pytest.mark.parametrize("kind", ["lmvm", "bqnls", "cg", "ntr"])
def test_other_methods_of_tao(kind: str) -> None:
    action = _quadratic(20)
    u = action.create()
    with petsc_options(tao_type=kind):
        outcome, _ = _run(minimise, action, u, tolerance=1e-5, iterations=1000)
    assert outcome.converged
    np.testing.assert_allclose(u.array, 1.0, atol=1e-5 / SPECTRUM.min())


def test_no_options_are_left_behind() -> None:
    action = _quadratic(5)
    _run(minimise, action, action.create())
    _run(polish, action, action.create())
    names = PETSc.Options().getAll()
    assert [name for name in names if name.startswith(("tao", "snes", "ksp"))] == []
