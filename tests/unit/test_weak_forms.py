"""State, saddle and forcing form: derivatives, hand-written values, and one minimiser for all."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray
from problems import dense, random_control
from scipy.optimize import least_squares
from weak_problems import Linear, twin

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.ends import EndConditions, background, clamped, soft
from fem_deepest.action.weak.forms import FORMS, make_form
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import TRANSCRIPTIONS, transcription
from fem_deepest.errors import InputError
from fem_deepest.solve.weak.newton import solve

Array = NDArray[np.float64]

names = pytest.mark.parametrize("name", TRANSCRIPTIONS)
forms = pytest.mark.parametrize("form", FORMS)
both = pytest.mark.parametrize("varying", [False, True], ids=["constant", "varying"])
MESH = np.array([0.0, 0.1, 0.25, 0.4, 0.7])
PRECISION = np.array([2.0, 3.0, 5.0, 1.0])


def _spd(size: int) -> Array:
    root = np.random.default_rng(5).standard_normal((size, size))
    return root @ root.T + np.eye(size)


def _problem(name: str, varying: bool = False, **options: Any) -> WeakProblem:
    """Everything at once: observations on and between nodes, soft start, background end, prior."""
    random = np.random.default_rng(1)
    conditions = EndConditions(soft(np.full(4, 0.3), 2.0), background(np.full(4, 0.1), _spd(4)))
    observations = Observations(
        np.array([0.0, 0.16, 0.4, 0.7]), random.standard_normal((4, 2)), [0, 2], [2.0, 3.0]
    )
    settings: dict[str, Any] = {"R_f": PRECISION, "conditions": conditions}
    return WeakProblem(
        Lorenz96(4),
        transcription(name),
        MESH,
        observations,
        prior=WeightPrior(0.5, 1.0, 0.7),
        varying=varying,
        **settings | options,
    )


def _check_derivatives(action: Any) -> None:
    u, d, e = (random_control(action, seed) for seed in (1, 5, 3))
    g, h, k = action.create(), action.create(), action.create()
    value = action.gradient(u, g)
    assert action.value(u) == pytest.approx(value, rel=1e-14)
    assert sum(action.parts.values()) == pytest.approx(value, rel=1e-14)
    action.hessian(u, d, h)
    action.hessian(u, e, k)
    assert e.dot(h) == pytest.approx(d.dot(k), rel=1e-11)
    remainders = []
    for step in (4e-3, 1e-3):
        v = u.copy()
        v.axpy(step, d)
        first = action.value(v) - value - step * g.dot(d)
        remainders.append([first, first - step**2 / 2 * d.dot(h)])
    slopes = np.log(np.abs(remainders[0]) / np.abs(remainders[1])) / np.log(4.0)
    np.testing.assert_allclose(slopes, [2.0, 3.0], atol=0.1)


@names
@both
@forms
def test_taylor(form: str, varying: bool, name: str) -> None:
    conditions = EndConditions(soft(np.full(4, 0.3), 2.0))
    if form != "forcing":
        conditions = EndConditions(clamped([0.1, np.nan, 0.2, np.nan]), soft(np.zeros(4), 2.0))
    _check_derivatives(make_form(form, _problem(name, varying, conditions=conditions)))


@forms
def test_taylor_with_some_components_exact(form: str) -> None:
    precision = PRECISION.copy()
    precision[1] = np.inf
    if form == "state":
        with pytest.raises(InputError, match="saddle or the forcing form"):
            make_form(form, _problem("gauss2", R_f=precision))
    else:
        _check_derivatives(make_form(form, _problem("gauss2", R_f=precision)))


@pytest.mark.parametrize("form", ["state", "saddle"])
def test_taylor_of_a_closed_path(form: str) -> None:
    conditions = EndConditions(soft(np.zeros(4), 2.0), periodic=True)
    _check_derivatives(make_form(form, _problem("gauss2", conditions=conditions)))


@both
def test_action_by_hand(varying: bool) -> None:
    problem = _problem("midpoint", varying)
    random = np.random.default_rng(4)
    x, w = random.standard_normal((5, 4)), random.standard_normal((5, 1) if varying else 1)
    y, h = problem.observations.values, np.diff(MESH)
    seen = np.array([x[0], 0.6 * x[1] + 0.4 * x[2], x[3], x[4]])[:, [0, 2]]
    expected = 0.5 * np.sum([2.0, 3.0] * (seen - y) ** 2) + np.sum((x[0] - 0.3) ** 2)
    expected += 0.5 * (x[4] - 0.1) @ _spd(4) @ (x[4] - 0.1)
    for i in range(4):
        a = (x[i] + x[i + 1]) / 2
        f = (w[i] + w[i + 1])[0] / 2 if varying else w[0]
        rhs = [a[j - 1] * (a[(j + 1) % 4] - a[j - 2]) - a[j] + f for j in range(4)]
        expected += h[i] / 2 * np.sum(PRECISION * ((x[i + 1] - x[i]) / h[i] - rhs) ** 2)
    if varying:
        e = w[:, 0] - 1.0
        mass = h / 3 * (e[:-1] ** 2 + e[:-1] * e[1:] + e[1:] ** 2)
        expected += 0.25 * (0.49 * np.sum(mass) + np.sum(np.diff(e) ** 2 / h))
    else:
        expected += 0.25 * (w[0] - 1.0) ** 2
    for form in FORMS:
        action = make_form(form, problem)
        u = action.pack(x, w)
        if form == "saddle":  # p = R_f d makes the Lagrangian the action
            u = action.pack(x, w, PRECISION * problem.defects().value(x, w))
        assert action.value(u) == pytest.approx(expected, rel=1e-13)
        np.testing.assert_allclose(action.unpack(u)[0], x, atol=1e-13)


@names
@both
def test_all_forms_reach_one_minimiser(name: str, varying: bool) -> None:
    prior = WeightPrior(1.0, 8.0) if varying else None
    problem, x, w = twin(name, varying=varying, prior=prior)
    found = {}
    for form in FORMS:
        action = make_form(form, problem)
        u = action.pack(x, w)
        outcome = solve(action, u, tolerance=1e-10)
        assert outcome.converged and outcome.index == 0
        found[form] = action.unpack(u), outcome.action
    (x, w, p), level = found["state"]
    defects = problem.defects()
    np.testing.assert_allclose(p, problem.R_f * defects.value(x, w), atol=1e-12)
    for form in ("saddle", "forcing"):
        (other_x, other_w, other_p), other_level = found[form]
        np.testing.assert_allclose(other_x, x, atol=1e-8)
        np.testing.assert_allclose(other_w, w, atol=1e-8)
        # p = R_f d amplifies what x and w are exact to by R_f/h.
        np.testing.assert_allclose(other_p, p, atol=1e-8 * problem.R_f / defects.steps[0])
        assert other_level == pytest.approx(level, rel=1e-12)
    # The minimiser is one: scipy's Gauss-Newton on the residuals finds it too.
    if not varying:
        y = problem.observations.values
        scale = np.sqrt(100.0 * defects.steps[:, None, None] * transcription(name).weights[:, None])

        def residuals(z: Array) -> Array:
            path = z[:-1].reshape(x.shape)
            span = (len(path) - 1) // defects.cells
            model = scale * defects.value(path, z[-1:])
            return np.concatenate([model.ravel(), (path[::span, :3] - y).ravel() / 0.3])

        z = np.append(x.ravel(), w) + 1e-3
        peer = least_squares(residuals, z, xtol=1e-14, ftol=1e-14, gtol=1e-12)
        assert peer.cost == pytest.approx(level, rel=1e-10)
        np.testing.assert_allclose(peer.x[:-1].reshape(x.shape), x, atol=1e-5)


def test_linear_problem_is_solved_by_the_normal_equations() -> None:
    """Against dense linear algebra; one Newton step, whatever the form."""
    random = np.random.default_rng(7)
    matrix, h, n, d = random.standard_normal((3, 3)), 0.1, 6, 3
    y = random.standard_normal((n + 1, 3))
    mesh = h * np.arange(n + 1)
    problem = WeakProblem(
        Linear(matrix),
        transcription("midpoint"),
        mesh,
        Observations(mesh, y, precision=2.0),
        3.0,
        prior=WeightPrior(0.5),
    )
    size = (n + 1) * d
    defects = np.zeros((n * d, size + d))
    for i in range(n):
        row, col = slice(d * i, d * i + d), d * i
        defects[row, col : col + d] = -np.eye(d) / h - matrix / 2
        defects[row, col + d : col + 2 * d] = np.eye(d) / h - matrix / 2
        defects[row, size:] = -np.eye(d)
    normal = 3.0 * h * defects.T @ defects
    normal[:size, :size] += 2.0 * np.eye(size)
    normal[size:, size:] += 0.5 * np.eye(d)
    rhs = np.append(2.0 * y.ravel(), np.zeros(d))
    expected = np.linalg.solve(normal, rhs)
    for form in FORMS:
        action = make_form(form, problem)
        u = action.pack(np.zeros((n + 1, d)), np.zeros(d))
        if form == "state":
            np.testing.assert_allclose(dense(partial(action.hessian, u), action), normal)
        outcome = solve(action, u)
        assert outcome.converged and outcome.iterations <= 2
        x, w, _ = action.unpack(u)
        np.testing.assert_allclose(np.append(x.ravel(), w), expected, atol=1e-12)


@forms
def test_metric_is_symmetric_positive_definite(form: str) -> None:
    action = make_form(form, _problem("midpoint", conditions=EndConditions()))
    matrix = dense(action.metric.apply, action)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(matrix)[0] > 0.0
    inverse = dense(action.metric.solve, action)
    np.testing.assert_allclose(inverse @ matrix, np.eye(len(matrix)), atol=1e-9)


@pytest.mark.parametrize("form", ["state", "saddle"])
def test_assembled_second_variation_is_the_hessian(form: str) -> None:
    action = make_form(form, _problem("gauss2", varying=True))
    for seed in (1, 2):
        u = random_control(action, seed)
        size = range(u.getSize())
        assembled = action.second_variation(u).getValues(size, size)
        matrix = dense(partial(action.hessian, u), action)
        np.testing.assert_allclose(assembled, matrix, atol=1e-13 * np.abs(matrix).max())


def test_one_key_chooses_the_form() -> None:
    with pytest.raises(InputError, match="expected one of"):
        make_form("lagrangian", _problem("euler"))


def test_numbering_is_banded_in_depth() -> None:
    action = make_form("saddle", _problem("gauss2", varying=True), MPI.COMM_SELF)
    numbers = action.space.cell_numbers
    # x, x and p p, x, w and w: a cell reaches over 4 + 1 + 8 + 4 + 4 + 1 consecutive numbers.
    np.testing.assert_array_equal(np.ptp(numbers, axis=1), 21)
    assert sorted(set(numbers.ravel())) == list(range(action.space.size))


def test_fixed_entries_are_no_unknowns() -> None:
    conditions = EndConditions(clamped([1.0, np.nan, 2.0, np.nan]), clamped(np.zeros(4)))
    action = make_form("state", _problem("midpoint", conditions=conditions))
    assert action.space.size == 5 * 4 - 2 - 4 + 1
    u: PETSc.Vec = random_control(action)
    x, _, _ = action.unpack(u)
    np.testing.assert_array_equal(x[0, [0, 2]], [1.0, 2.0])
    np.testing.assert_array_equal(x[-1], 0.0)
