"""End conditions and solvability: closed forms of linear problems, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from weak_problems import Linear, Sine, twin

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.determined import undetermined
from fem_deepest.action.weak.ends import EndConditions, background, clamped, soft
from fem_deepest.action.weak.forms import FORMS, make_form
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.solve.weak.newton import StationaryOutcome, solve

Array = NDArray[np.float64]

RATE, DEPTH = 0.8, 1.5
linears = pytest.mark.parametrize("linear", ["mumps", "depth"])
gauss = pytest.mark.parametrize(("name", "order"), [("midpoint", 2), ("gauss2", 4)])


class Scalar:
    """``x' = a x + b cos(2 pi t)``, without parameters."""

    name, states, parameters = "scalar", 1, ()

    def __init__(self, rate: float = RATE, drive: float = 0.0) -> None:
        self.rate, self.drive = rate, drive

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return self.rate * x + self.drive * np.cos(2 * np.pi * t)[..., None]

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        return np.full((*x.shape, 1), self.rate), np.zeros((*x.shape, 0))

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        lead = x.shape[:-1]
        return np.zeros((*lead, 1, 1)), np.zeros((*lead, 1, 0)), np.zeros((*lead, 0, 0))


def _solved(
    form: str, problem: WeakProblem, linear: str = "mumps", **options: Any
) -> tuple[StationaryOutcome, Array, Array, Array]:
    action = make_form(form, problem)
    x = np.zeros((problem.defects().nodes.size, problem.states))
    u = action.pack(x, np.zeros((len(problem.mesh), 0))[0])
    outcome = solve(action, u, linear=linear, **options)
    return outcome, *action.unpack(u)


def _scalar(cells: int, name: str, conditions: EndConditions, **options: Any) -> WeakProblem:
    settings: dict[str, Any] = {"R_f": 3.0, "observations": None, "dynamics": Scalar()} | options
    dynamics, observations = settings.pop("dynamics"), settings.pop("observations")
    mesh = np.linspace(0.0, DEPTH, cells + 1)
    return WeakProblem(
        dynamics, transcription(name), mesh, observations, conditions=conditions, **settings
    )


@gauss
@linears
@pytest.mark.parametrize("form", ["state", "saddle"])
def test_clamped_ends_give_the_sinh(form: str, linear: str, name: str, order: int) -> None:
    """Bridge of ``x' = a x``: ``x'' = a^2 x``, and the action by the controllability Gramian."""
    first, last = 1.0, -0.5
    errors = []
    for cells in (8, 16):
        problem = _scalar(cells, name, EndConditions(clamped([first]), clamped([last])))
        outcome, x, _, p = _solved(form, problem, linear)
        assert outcome.converged and outcome.index == 0
        t = problem.defects().nodes
        exact = first * np.sinh(RATE * (DEPTH - t)) + last * np.sinh(RATE * t)
        exact /= np.sinh(RATE * DEPTH)
        growth = np.exp(RATE * DEPTH)
        action = 3.0 * RATE * (last - growth * first) ** 2 / (growth**2 - 1.0)
        # -p' = a p, p(0) = 2 a R_f e^{aT} (x_T - e^{aT} x_0) / (e^{2aT} - 1)
        start = 6.0 * RATE * growth * (last - growth * first) / (growth**2 - 1.0)
        points = problem.defects().points
        errors.append(
            [
                np.abs(x[:, 0] - exact)[:: (t.size - 1) // cells].max(),
                abs(outcome.action - action),
                np.abs(p[..., 0] - start * np.exp(-RATE * points)).max(),
            ]
        )
    orders = np.log2(np.array(errors[0]) / errors[1])
    # At the Gauss points of a cell the momentum is exact to one order above the stage order.
    np.testing.assert_allclose(orders, [order, order, 2 if order == 2 else 3], atol=0.35)


@linears
@pytest.mark.parametrize(
    ("form", "R_f"), [*((f, 3.0) for f in FORMS), ("saddle", np.inf), ("forcing", np.inf)]
)
def test_soft_and_background_ends_are_a_kalman_filter(form: str, linear: str, R_f: float) -> None:
    """Rotation with a background at the start and a soft end: the innovation has a known covariance."""
    matrix = np.array([[0.0, 1.0], [-1.0, 0.0]])
    b = np.array([[2.0, 0.5], [0.5, 1.0]])
    z, y, weight = np.array([1.0, 0.2]), np.array([0.3, -0.7]), 4.0
    cells = 12
    problem = WeakProblem(
        Linear(matrix),
        transcription("gauss2"),
        np.linspace(0.0, DEPTH, cells + 1),
        None,
        R_f,
        EndConditions(background(z, b), soft(y, weight)),
        WeightPrior(1e8),  # w = 0 to 1e-8
    )
    outcome, x, _, p = _solved_linear(form, problem, linear)
    assert outcome.converged and outcome.index == 0
    turn = np.array([[np.cos(DEPTH), np.sin(DEPTH)], [-np.sin(DEPTH), np.cos(DEPTH)]])
    covariance = np.eye(2) / weight + turn @ np.linalg.inv(b) @ turn.T + np.eye(2) * DEPTH / R_f
    innovation = y - turn @ z
    force = np.linalg.solve(covariance, innovation)
    assert outcome.action == pytest.approx(0.5 * innovation @ force, rel=1e-5)
    np.testing.assert_allclose(x[0], z + np.linalg.solve(b, turn.T @ force), atol=1e-5)
    np.testing.assert_allclose(x[-1], y - force / weight, atol=1e-5)
    # p(T) = -dPhi_T/dx and p is turned like x.
    t = problem.defects().points
    turned = np.stack(
        [
            np.cos(DEPTH - t) * force[0] - np.sin(DEPTH - t) * force[1],
            np.sin(DEPTH - t) * force[0] + np.cos(DEPTH - t) * force[1],
        ],
        axis=-1,
    )
    np.testing.assert_allclose(p, turned, atol=1e-3)


def _solved_linear(form: str, problem: WeakProblem, linear: str) -> Any:
    action = make_form(form, problem)
    x = np.zeros((problem.defects().nodes.size, problem.states))
    u = action.pack(x, np.zeros(problem.parameters))
    outcome = solve(action, u, linear=linear)
    return outcome, *action.unpack(u)


@gauss
@linears
@pytest.mark.parametrize("form", ["state", "saddle"])
def test_periodic_path(form: str, linear: str, name: str, order: int) -> None:
    """``x' = -x + cos(2 pi t)`` with period 1: no observation is needed."""
    errors = []
    for cells in (10, 20):
        mesh = np.linspace(0.0, 1.0, cells + 1)
        problem = WeakProblem(
            Scalar(-1.0, 1.0), transcription(name), mesh, None, 2.0, EndConditions(periodic=True)
        )
        outcome, x, _, p = _solved(form, problem, linear)
        assert outcome.converged and outcome.index == 0
        assert x[0] == x[-1] and np.abs(p).max() < 1e-12
        t = problem.defects().nodes
        exact = (np.cos(2 * np.pi * t) + 2 * np.pi * np.sin(2 * np.pi * t)) / (1 + 4 * np.pi**2)
        errors.append(np.abs(x[:, 0] - exact)[:: (t.size - 1) // cells].max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


@linears
@pytest.mark.parametrize("form", ["state", "saddle"])
def test_closed_path_with_observations(form: str, linear: str) -> None:
    """The costate is continuous over the seam: shifting the observations shifts the solution."""
    mesh = np.linspace(0.0, 1.0, 9)
    found = []
    for shift in (0, 3):
        times = mesh[[(1 + shift) % 8, (4 + shift) % 8]]
        observations = Observations(times, [[1.0], [-0.3]], precision=5.0)
        problem = WeakProblem(
            Scalar(-1.0), transcription("midpoint"), mesh, observations, 2.0,
            EndConditions(periodic=True),
        )  # fmt: skip
        outcome, x, _, p = _solved(form, problem, linear)
        found.append((outcome.action, np.roll(x[:-1], -shift), np.roll(p, -shift)))
    for one, two in zip(*found, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-12)


def test_natural_ends_have_no_momentum() -> None:
    """``p`` vanishes between a natural end and the first observation."""
    problem, x, w = twin("midpoint", R_f=np.inf)
    seen = problem.observations
    inside = slice(3, -3)
    observations = Observations(seen.times[inside], seen.values[inside], [0, 1, 2], 10.0)
    problem = WeakProblem(
        problem.dynamics, problem.transcription, problem.mesh, observations, np.inf
    )
    action = make_form("saddle", problem)
    u = action.pack(x, w)
    assert solve(action, u).converged
    _, _, p = action.unpack(u)
    assert np.abs(p[[0, 1, 2, -1, -2, -3]]).max() < 1e-9 * np.abs(p).max()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_determined_is_refused(form: str) -> None:
    mesh = np.linspace(0.0, 1.0, 5)
    matrix = np.diag([-1.0, 2.0])
    half = Observations(mesh, np.ones((5, 1)), [0])
    problem = WeakProblem(
        Linear(matrix), transcription("midpoint"), mesh, half, 2.0, prior=WeightPrior(1.0)
    )
    action = make_form(form, problem)
    u = action.pack(np.zeros((5, 2)), np.zeros(2))
    with pytest.raises(InputError, match="singular: 1 directions, mostly in x_1, are"):
        solve(action, u)
    assert not u.array_r.any()
    nothing = WeakProblem(Lorenz96(4), transcription("euler"), mesh, None, 2.0)
    action = make_form(form, nothing)
    with pytest.raises(InputError, match=r"5 directions, mostly in .*x_"):
        solve(action, action.pack(np.ones((5, 4)), np.ones(1)))


def test_growth_and_decay_do_not_hide_what_is_seen() -> None:
    """Rates of +-25 over a depth of 2, seen at the end alone: nothing is lost but digits."""
    mesh = np.linspace(0.0, 2.0, 81)
    system = Linear(np.array([[25.0, 3.0, 0.0], [0.0, -25.0, 1.0], [0.0, 0.0, 0.0]]))
    x, w = np.zeros((81, 3)), np.zeros(3)
    for seen, missing in (([0, 1, 2], 0), ([0, 1], 1), ([2], 2)):
        observations = Observations(np.array([2.0]), np.ones((1, len(seen))), seen)
        problem = WeakProblem(
            system, transcription("midpoint"), mesh, observations, 1.0, prior=WeightPrior(1.0)
        )
        assert undetermined(problem, x, w).shape == (6 - 3, missing)
    # The last component alone does determine all three if it is driven by the others.
    driven = Linear(np.array([[-1.0, 0.0, 0.0], [1.0, -2.0, 0.0], [0.0, 1.0, 0.5]]))
    observations = Observations(mesh[::20], np.ones((5, 1)), [2])
    problem = WeakProblem(
        driven, transcription("midpoint"), mesh, observations, 1.0, prior=WeightPrior(1.0)
    )
    assert undetermined(problem, x, w).shape == (3, 0)


def test_a_closed_path_of_an_autonomous_rotation_is_not_determined() -> None:
    """With the period of the discrete rotation every start comes back; with another one only zero."""
    cells = 16
    for turn, missing in ((2 * np.pi, 2), (1.9 * np.pi, 0)):
        # The midpoint rule turns by 2 arctan(h/2) a step.
        mesh = 2 * np.tan(turn / cells / 2) * np.arange(cells + 1)
        problem = WeakProblem(
            Linear(np.array([[0.0, 1.0], [-1.0, 0.0]])), transcription("midpoint"), mesh, None, 1.0,
            EndConditions(periodic=True), WeightPrior(1.0),
        )  # fmt: skip
        assert undetermined(problem, np.zeros((17, 2)), np.zeros(2)).shape[1] == missing


@linears
@pytest.mark.parametrize(("period", "index"), [(3.0, 1), (7.0, 3), (13.0, 5)])
def test_index_of_a_saddle_of_the_action(linear: str, period: float, index: int) -> None:
    """``x = pi/2`` is stationary on a closed path of ``x' = sin x``, ``A'' = R_f (xi'^2 - xi^2)``:
    a constant is one negative direction, and every wave longer than ``2 pi`` gives two more."""
    mesh = np.linspace(0.0, period, 61)
    problem = WeakProblem(
        Sine(), transcription("gauss2"), mesh, None, 2.0, EndConditions(periodic=True)
    )
    nodes = problem.defects().nodes
    start = np.pi / 2 + 0.02 * np.cos(nodes)[:, None]
    start[-1] = start[0]
    saddle = make_form("saddle", problem)
    u = saddle.pack(start, np.zeros(0), -2.0)
    outcome = solve(saddle, u, linear=linear)
    assert outcome.converged and outcome.index == index
    assert outcome.action == pytest.approx(period)  # R_f/2 T
    np.testing.assert_allclose(saddle.unpack(u)[0], np.pi / 2, atol=1e-9)
    # From the same start the state form goes downhill to a solution of the dynamics.
    state = make_form("state", problem)
    u = state.pack(start, np.zeros(0))
    outcome = solve(state, u, linear=linear)
    assert outcome.converged and outcome.index == 0
    assert outcome.action == pytest.approx(0.0, abs=1e-14)


def test_refusals() -> None:
    with pytest.raises(InputError, match="eigenvalues"):
        background([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]])
    with pytest.raises(InputError, match="shape"):
        background([0.0, 0.0], np.eye(3))
    with pytest.raises(InputError, match="clamp both ends"):
        EndConditions(clamped([0.0]), periodic=True)
    for conditions in (EndConditions(periodic=True), EndConditions(end=clamped([0.0]))):
        with pytest.raises(InputError, match="cannot prescribe"):
            make_form("forcing", _scalar(4, "midpoint", conditions))
    with pytest.raises(InputError, match="expected 1"):
        _scalar(4, "midpoint", EndConditions(soft([0.0, 1.0], 1.0)))
    with pytest.raises(InputError, match="must be positive"):
        _scalar(4, "midpoint", EndConditions(), R_f=0.0)
    with pytest.raises(InputError, match="shape"):
        _scalar(4, "midpoint", EndConditions(), R_f=[1.0, 2.0])
    with pytest.raises(InputError, match="give a prior"):
        twin(varying=True)
    with pytest.raises(InputError, match="the prior's strength and mean"):
        twin(prior=WeightPrior(1.0, [1.0, 2.0]))
    with pytest.raises(InputError, match="increasing"):
        WeakProblem(Scalar(), transcription("euler"), np.zeros(3), None, 1.0)
    problem, x, w = twin()
    with pytest.raises(InputError, match=r"got values of shape \(12, 5\), expected \(13, 5\)"):
        make_form("state", problem).pack(x[1:], w)
    with pytest.raises(InputError, match="not negative"):
        WeightPrior(-1.0)


@pytest.mark.parametrize("form", FORMS)
def test_stopping_early_is_no_success(form: str) -> None:
    problem, x, w = twin()
    action = make_form(form, problem)
    u = action.pack(x, w)
    seen: list[float] = []
    outcome = solve(action, u, iterations=1, monitor=lambda _, norm: seen.append(norm))
    assert not outcome.converged and outcome.reason == "diverged_max_it"
    # The last iterate is kept.
    g = action.create()
    action.gradient(u, g)
    assert g.norm() == pytest.approx(seen[-1], rel=1e-9) and len(seen) == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_start_that_is_not_finite_is_a_failure(form: str) -> None:
    problem, x, w = twin()
    action = make_form(form, problem)
    x[0] = 1e200
    with np.errstate(all="ignore"), pytest.raises(NumericalFailure, match="another path"):
        solve(action, action.pack(x, w))


@pytest.mark.parametrize("form", FORMS)
def test_an_exception_leaves_the_last_iterate(form: str) -> None:
    problem, x, w = twin()
    action = make_form(form, problem)
    u, seen = action.pack(x, w), []

    def monitor(iterate: PETSc.Vec, _: float) -> None:
        seen.append(iterate.array_r.copy())
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        solve(action, u, monitor=monitor)
    np.testing.assert_array_equal(u.array_r, seen[-1])
    assert np.abs(seen[-1] - seen[0]).max() > 1e-3


@linears
@pytest.mark.parametrize("form", FORMS)
def test_singular_jacobian_is_no_success(form: str, linear: str) -> None:
    """The matrix is singular although the path is determined."""
    problem, x, w = twin("euler", cells=4, R_f=10.0)
    action = make_form(form, problem)
    u = action.pack(x, w)
    broken = np.zeros_like(action.elements(u))
    action.elements = lambda *_: broken  # type: ignore[method-assign]
    outcome = solve(action, u, linear=linear)
    assert not outcome.converged and outcome.reason.startswith("diverged")
