"""Descent of many columns: known minimisers, steps that are known, and every gradient counted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

from fem_deepest.errors import InputError
from fem_deepest.solve.column_memory import ColumnMemory
from fem_deepest.solve.columns import descend


class Landscape:
    """A function on blocks with a diagonal metric; counts what it is asked."""

    def __init__(self, value, gradient, metric) -> None:
        self._value, self._gradient, self._metric = value, gradient, metric
        self.asked = 0

    def gradient(self, U):
        self.asked += U.shape[1]
        return self._value(U), self._gradient(U)

    def solve(self, R):
        return R / self._metric[:, None]

    @staticmethod
    def inner(a, b):
        return np.einsum("is,is->s", a, b)


def rosenbrock(n: int) -> Landscape:
    return Landscape(rosen, rosen_der, np.ones(n))


def quadratic(a, metric) -> Landscape:
    a = np.asarray(a)[:, None]
    return Landscape(lambda U: 0.5 * (a * U**2).sum(0), lambda U: a * U, np.asarray(metric))


@pytest.mark.parametrize("n", [2, 6])
def test_rosenbrock_from_many_starts(n) -> None:
    """The only other stationary point for n = 6 is near (-1, 1, ...), a minimum too."""
    rng = np.random.default_rng(1)
    U = rng.uniform(-2.0, 2.0, (n, 40))
    problem = rosenbrock(n)
    found = descend(problem, U, tolerance=1e-8, most=2000)
    assert found.converged.all()
    assert found.gradients.sum() == problem.asked
    global_ = found.value < 1e-12
    np.testing.assert_allclose(found.U[:, global_], 1.0, atol=1e-6)
    if n == 2:
        assert global_.all()
    else:
        np.testing.assert_allclose(found.U[1:, ~global_].std(1), 0.0, atol=1e-6)
        assert np.all(found.value[~global_] > 3.9)
    # The same work as an implementation from elsewhere, within a factor.
    known = [
        minimize(rosen, u, jac=rosen_der, method="L-BFGS-B", options={"gtol": 1e-8, "ftol": 0}).nfev
        for u in U.T
    ]
    assert np.median(found.gradients) < 1.5 * np.median(known)


def test_a_quadratic_that_is_the_metric_takes_one_step() -> None:
    """From within the unit ball of the metric: two gradients, and the minimiser to rounding."""
    a = np.array([1.0, 10.0, 1e4])
    U = np.linspace(-1.0, 1.0, 12).reshape(3, 4) / np.sqrt(3.0 * a[:, None])
    found = descend(quadratic(a, a), U, tolerance=1e-12, most=100)
    np.testing.assert_array_equal(found.gradients, 2.0)
    np.testing.assert_allclose(found.U, 0.0, atol=1e-16)


def test_the_memory_is_the_bfgs_matrix() -> None:
    """Against the dense formula, column by column, with columns at different ages."""
    rng = np.random.default_rng(3)
    n, S, m = 4, 3, 2
    P = np.diag(rng.uniform(1.0, 5.0, n))
    space = Landscape(None, None, np.diag(P))
    memory = ColumnMemory(space, (n, S), m)
    B = [rng.standard_normal((n, n)) for _ in range(S)]
    A = [b @ b.T + np.eye(n) for b in B]
    pairs = [[], [], []]
    for columns in ([0, 1], [0], [0, 2], [1, 2], [0]):
        index = np.array(columns)
        s = rng.standard_normal((n, index.size))
        y = np.stack([A[c] @ s[:, i] for i, c in enumerate(columns)], axis=1)
        memory.add(index, s, y)
        for i, c in enumerate(columns):
            pairs[c].append((s[:, i], y[:, i]))
    g = rng.standard_normal((n, S))
    applied = memory.apply(np.arange(S), g)
    for c in range(S):
        s, y = pairs[c][-1]
        C = np.linalg.inv(P)
        H = (s @ y) / (y @ C @ y) * C
        for s, y in pairs[c][-m:]:
            V = np.eye(n) - np.outer(y, s) / (s @ y)
            H = V.T @ H @ V + np.outer(s, s) / (s @ y)
        np.testing.assert_allclose(applied[:, c], H @ g[:, c], rtol=1e-11)
    memory.keep(np.array([0, 2]))
    np.testing.assert_allclose(memory.apply(np.array([1]), g[:, 2:]), applied[:, 2:], rtol=1e-13)


def test_the_budget_of_each_column_is_kept() -> None:
    problem, told = rosenbrock(2), np.zeros(4)
    U = np.tile([[-1.2], [1.0]], 4)

    def watch(columns, values) -> None:
        told[columns] += 1

    found = descend(problem, U, tolerance=1e-8, most=np.array([0, 1, 10, 1000]), watch=watch)
    np.testing.assert_array_equal(found.gradients[:3], [0, 1, 10])
    np.testing.assert_array_equal(told, found.gradients)
    np.testing.assert_array_equal(found.converged, [False, False, False, True])
    assert np.isinf(found.value[0])
    assert found.value[1] == rosen(U[:, 1])
    np.testing.assert_array_equal(found.U[:, :2], U[:, :2])
    assert found.value[3] < found.value[2] < found.value[1]


def test_actions_fall_and_columns_do_not_meet() -> None:
    """Every column alone gives what it gives beside others."""
    U = np.random.default_rng(5).uniform(-2.0, 2.0, (3, 6))
    together = descend(rosenbrock(3), U, tolerance=1e-6, most=300)
    for s in range(6):
        alone = descend(rosenbrock(3), U[:, s : s + 1], tolerance=1e-6, most=300)
        assert alone.gradients[0] == together.gradients[s]
        np.testing.assert_allclose(alone.U[:, 0], together.U[:, s], rtol=1e-9)


def test_values_that_are_not_finite() -> None:
    """A trial point outside of the domain is too far; a start outside has nowhere to go."""
    problem = Landscape(
        lambda U: np.where(U[0] > 0, U[0] - np.log(np.abs(U[0])), np.nan),
        lambda U: 1.0 - 1.0 / U,
        np.ones(1),
    )
    with np.errstate(all="ignore"):
        found = descend(problem, np.array([[0.01, 5.0, -1.0]]), tolerance=1e-9, most=100)
    np.testing.assert_array_equal(found.converged, [True, True, False])
    np.testing.assert_allclose(found.U[0, :2], 1.0, rtol=1e-8)
    assert found.gradients[2] == 1


def test_nothing_to_do_and_wrong_input() -> None:
    nothing = descend(rosenbrock(2), np.ones((2, 3)), tolerance=1.0, most=0)
    assert nothing.gradients.sum() == 0
    with pytest.raises(InputError, match="give a positive tolerance"):
        descend(rosenbrock(2), np.ones((2, 1)), tolerance=0.0, most=1)
