"""Stochastic gradient descent against its recursion in plain NumPy, and on a small network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import DiagonalMetric, Quadratic, network_action, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.solve.sgd import Gains, advance, descend

Array = NDArray[np.float64]

M, C = np.array([1.0, 4.0, 9.0, 2.0]), np.array([0.5, 1.0, 3.0, 20.0])


class Noisy:
    """The gradient of a quadratic plus Gaussian noise of the step."""

    def __init__(self, action: Quadratic, deviation: float) -> None:
        self.action, self.deviation = action, deviation
        self.steps: list[int] = []

    def noise(self, step: int) -> Array:
        return self.deviation * np.random.default_rng(step).standard_normal(M.size)

    def __call__(self, u: PETSc.Vec, g: PETSc.Vec, step: int) -> float:
        value = self.action.gradient(u, g)
        g.array[...] += self.noise(step)
        self.steps.append(step)
        return value


def _by_hand(noisy: Noisy, steps: range, eta: float, nu: float, metric: bool) -> Array:
    u = np.zeros(M.size)
    for n in steps:
        g = M * C * (u - 1.0) + noisy.noise(n)
        u = u - eta / n**nu * (g / M if metric else g)
    return u


@pytest.mark.parametrize("metric", [True, False], ids=["metric", "euclidean"])
@pytest.mark.parametrize("nu", [0.0, 0.5, 1.0])
def test_steps_are_those_of_the_recursion(nu: float, metric: bool) -> None:
    action = Quadratic(M, C)
    noisy, u = Noisy(action, 0.3), action.create()
    riesz = action.metric if metric else None
    advance(noisy, u, Gains(0.02, nu), range(1, 31), riesz)
    assert noisy.steps == list(range(1, 31))
    expected = _by_hand(noisy, range(1, 31), 0.02, nu, metric)
    np.testing.assert_allclose(u.array, expected, rtol=1e-13)


def test_without_noise_every_error_shrinks_by_its_own_factor() -> None:
    """``u_n - 1 = -prod_k (1 - eta k^-nu c_i)``."""
    action = Quadratic(M, C)
    u, k = action.create(), np.arange(1, 41)
    advance(Noisy(action, 0.0), u, Gains(0.09, 0.75), range(1, 41), action.metric)
    factors = np.prod(1.0 - 0.09 * k[:, None] ** -0.75 * C, axis=0)
    np.testing.assert_allclose(u.array, 1.0 - factors, rtol=1e-12)


def _descend(
    noisy: Noisy, u: PETSc.Vec, seen: list[tuple[int, float, Array]], **options: Any
) -> Any:
    def monitor(iterate: Iterate) -> None:
        seen.append((iterate.iteration, iterate.gradient, iterate.u.array.copy()))

    options = {"steps": 100, "every": 7, "tolerance": 1e-30} | options
    action = noisy.action
    return descend(
        noisy, action, u, Gains(0.05, 0.5), metric=action.metric, monitor=monitor, **options
    )


def test_it_has_converged_only_when_the_whole_gradient_says_so() -> None:
    noisy, seen = Noisy(Quadratic(M, C), 0.1), list[tuple[int, float, Array]]()
    u = noisy.action.create()
    outcome = _descend(noisy, u, seen)
    assert (outcome.converged, outcome.reason) == (False, "diverged_maxits")
    assert outcome.iterations == 100
    assert [n for n, *_ in seen] == [*range(0, 100, 7), 100]
    for n, norm, at in seen:
        np.testing.assert_allclose(
            at, _by_hand(noisy, range(1, n + 1), 0.05, 0.5, True), rtol=1e-12, atol=1e-14
        )
        assert norm == pytest.approx(np.sqrt(np.sum(M * (C * (at - 1.0)) ** 2)), rel=1e-12)
    np.testing.assert_array_equal(u.array, seen[-1][2])
    # The same with a tolerance that one of these points meets, and those before it do not.
    norms = [norm for _, norm, _ in seen]
    first = next(i for i in range(3, 16) if norms[i] < min(norms[:i]))
    again, u = list[tuple[int, float, Array]](), noisy.action.create()
    outcome = _descend(noisy, u, again, tolerance=norms[first])
    assert (outcome.converged, outcome.iterations) == (True, 7 * first)
    np.testing.assert_array_equal(u.array, seen[first][2])


def test_a_stopped_run_goes_on_with_the_same_noise() -> None:
    whole, parts = list[tuple[int, float, Array]](), list[tuple[int, float, Array]]()
    noisy = Noisy(Quadratic(M, C), 0.1)
    u = noisy.action.create()
    _descend(noisy, u, whole)
    v = noisy.action.create()
    _descend(noisy, v, parts, steps=35)
    outcome = _descend(noisy, v, parts, offset=35)
    assert outcome.iterations == 65
    del parts[6]  # the point where it was stopped is looked at twice
    assert [n for n, *_ in parts] == [n for n, *_ in whole]
    for mine, other in zip(parts, whole, strict=True):
        assert mine[1] == other[1]
        np.testing.assert_array_equal(mine[2], other[2])


def test_divergence_is_a_failure_and_leaves_the_last_good_iterate() -> None:
    noisy, seen = Noisy(Quadratic(M, 100.0 * C), 0.1), list[tuple[int, float, Array]]()
    u = noisy.action.create()
    with pytest.raises(NumericalFailure, match=r"diverges: in step \d+ .* smaller eta"):
        _descend(noisy, u, seen)
    np.testing.assert_array_equal(u.array, seen[-1][2])
    assert np.abs(u.array).max() < 1e10
    with pytest.raises(NumericalFailure, match="the action is nan after 0"):
        u.array[0] = np.nan
        _descend(noisy, u, seen)


def test_an_entry_that_is_no_number_is_noticed() -> None:
    """Also where the value is one, and whatever the other entries are."""
    action = Quadratic(M, C)

    def broken(u: PETSc.Vec, g: PETSc.Vec, step: int) -> float:
        g.array[...] = [0.0, np.nan if step == 2 else 1.0, 0.0, 5.0]
        return 1.0

    with pytest.raises(NumericalFailure, match="in step 2"):
        advance(broken, action.create(), Gains(0.1, 0.5), range(1, 9))


# Networks -----------------------------------------------------------------------------------------


def _train(action: Any, descent: BatchDescent, u: PETSc.Vec, tolerance: float) -> tuple[Any, list]:
    seen: list[tuple[int, float, int]] = []

    def monitor(iterate: Iterate) -> None:
        seen.append((iterate.iteration, iterate.gradient, action.evaluations))

    return descent.minimise(action, u, tolerance=tolerance, monitor=monitor), seen


@pytest.mark.parametrize(
    ("riesz", "eta", "epochs", "tolerance"), [(True, 0.2, 300, 1e-9), (False, 0.08, 3000, 1e-5)]
)
def test_all_samples_in_a_batch_make_it_gradient_descent(
    riesz: bool, eta: float, epochs: int, tolerance: float
) -> None:
    """It converges to the minimum that the quasi-Newton method finds."""
    action = network_action(strength=2.0, count=10, loss="least_squares")
    u, v = random_control(action, 1, 0.1), random_control(action, 1, 0.1)
    descent = BatchDescent(eta, 0.0, 10, epochs, epochs // 30, riesz=riesz)
    outcome, seen = _train(action, descent, u, tolerance)
    assert outcome.converged
    assert 0 < outcome.iterations < epochs
    assert [n for n, *_ in seen] == list(range(0, outcome.iterations + 1, epochs // 30))
    # A step costs a gradient, and a look at the whole gradient another one.
    assert seen[-1][2] == outcome.iterations + len(seen)
    minimise(action, v, LimitedMemory(action.metric, 10), tolerance=1e-11, iterations=200)
    u.axpy(-1.0, v)
    # The lowest eigenvalue of A'' is 0.18 in the metric, and that of the metric 0.1.
    assert u.norm() < 100.0 * tolerance


def test_a_step_goes_down_the_gradient_of_its_batch() -> None:
    action = network_action(count=10, strength=0.1)
    descent = BatchDescent(0.3, 0.5, 4, 1, 1, seed=2)
    u = random_control(action, 1)
    v, g, d = u.copy(), action.create(), action.create()
    _, seen = _train(action, descent, u, 0.0)
    batches = descent.batches(action)
    for n in (1, 2, 3):
        batches.gradient(v, g, n)
        action.metric.solve(g, d)
        v.axpy(-0.3 * 0.1 * n**-0.5, d)
    np.testing.assert_allclose(u.array, v.array, rtol=0, atol=1e-14)
    # Three batches of four out of ten are 1.2 gradients.
    assert [(n, e) for n, _, e in seen] == [(0, 1), (3, 3)]


def test_it_comes_near_the_minimum_and_says_that_it_is_not_there() -> None:
    action = network_action(strength=2.0, count=12, loss="least_squares")
    u, v = random_control(action, 1, 0.1), random_control(action, 1, 0.1)
    g, d = action.create(), u.copy()
    minimise(action, v, LimitedMemory(action.metric, 10), tolerance=1e-10, iterations=200)
    action.gradient(u, g)
    start = dual_norm(action.metric, g)
    outcome, _ = _train(action, BatchDescent(0.1, 0.7, 4, 400, 400), u, 1e-4 * start)
    assert not outcome.converged
    action.gradient(u, g)
    assert 1e-4 * start < dual_norm(action.metric, g) < 0.1 * start
    d.axpy(-1.0, v)
    u.axpy(-1.0, v)
    assert u.norm() < 0.15 * d.norm()


def test_a_metric_that_is_the_identity_makes_no_difference() -> None:
    action = Quadratic(M, C, flat=True)
    assert isinstance(action.metric, DiagonalMetric)
    u, v = action.create(), action.create()
    advance(Noisy(action, 0.2), u, Gains(0.05, 0.5), range(1, 9), action.metric)
    advance(Noisy(action, 0.2), v, Gains(0.05, 0.5), range(1, 9))
    np.testing.assert_array_equal(u.array, v.array)
