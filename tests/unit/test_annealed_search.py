"""Searches, descents, replicas, and flows by PETSc's TS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from landscapes import Quadratic, Well
from mpi4py import MPI
from numpy.typing import NDArray
from problems import network_action
from test_paths import oscillator

from fem_deepest._petsc import PETSc
from fem_deepest.action.paths.single import PathAction
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.descent import counted, newton_paths, quasi_newton
from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.replicas import Replicas
from fem_deepest.annealed.schedule import Constant, Geometric
from fem_deepest.annealed.search import Descent, Plan, search
from fem_deepest.annealed.timestepper import FlowStepper
from fem_deepest.errors import InputError, Interrupted, NumericalFailure
from fem_deepest.sample.diagnostics import standard_error
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.paths.newton import NewtonPaths

Array = NDArray[np.float64]
COLD = Geometric(1.0, 1e-2, 20)


def newton_well(well: Well):
    """Ten gradient steps to the bottom that a column is in."""

    def descend(U: Array) -> Descent:
        for _ in range(60):
            U = U - 0.1 * well.gradient(U)[1]
        values, g = well.gradient(U)
        return Descent(U, values, np.abs(g[0]) < 1e-6, np.full(U.shape[1], 60.0))

    return descend


def test_search_of_paths_ends_at_stationary_points() -> None:
    """All columns, by Newton's method; the gradient is zero to rounding; every gradient is counted."""
    paths, R_f = oscillator("midpoint", False), 2.0
    landscape = PathsLandscape(paths, R_f)
    start = landscape.draw(1, 0, range(4))
    found = search(
        landscape, start, Plan(COLD, 30, 0.1), newton_paths(NewtonPaths(paths), R_f, worth=3.0)
    )
    assert found.converged.all()
    values, g = landscape.gradient(found.U)
    np.testing.assert_allclose(values, found.values, rtol=1e-12)
    norms = np.sqrt(landscape.inner(g, landscape.solve(g)))
    first = landscape.gradient(start)[1]
    assert (norms < 1e-7 * np.sqrt(landscape.inner(first, landscape.solve(first)))).all()
    assert (found.values <= found.noisy).all() and (found.noisy <= landscape.value(start)).all()
    assert ((found.gradients - 31.0) % 3.0 == 0.0).all() and (found.gradients > 31.0).all()


def test_search_of_an_action_counts_exactly() -> None:
    """The count is that of the action itself, and the end is stationary."""
    action = network_action()
    landscape = ActionLandscape(action)
    start = landscape.draw(1, 0, range(2))
    plan = Plan(COLD, 10, 0.1, ends=("best",))
    action.evaluations = 0
    found = search(landscape, start, plan, quasi_newton(action, tolerance=1e-6))
    assert found.converged.all()
    assert found.gradients.sum() == action.evaluations
    u, g = action.create(), action.create()
    for s in range(2):
        u.array[...] = found.U[:, s]
        action.gradient(u, g)
        assert dual_norm(action.metric, g) <= 1e-6


def test_newton_is_counted_too() -> None:
    action = network_action()
    one = counted(action, product=2.5)
    u, g = one.create(), one.create()
    one.value(u)
    one.gradient(u, g)
    one.hessian(u, g, u.duplicate())
    assert one.gradients == 3.5
    plan = Plan(COLD, 3, 0.1)
    action.evaluations = action.hessians = 0
    start = ActionLandscape(action).draw(0, 0, [0])
    down = quasi_newton(action, tolerance=1e-8, iterations=50, newton=30, product=2.0)
    found = search(ActionLandscape(action), start, plan, down)
    assert found.converged.all() and action.hessians > 0
    assert found.gradients.sum() == action.evaluations + 2.0 * action.hessians


def test_noise_leaves_the_higher_well() -> None:
    """Descent alone stays where it starts; all columns together find the lower well more often."""
    well, many = Well(2.0, 0.3), 200
    start = np.full((1, many), 0.9)
    descend = newton_well(well)
    alone = search(well, start, Plan(COLD, 0, 0.2), descend)
    assert (alone.U > 0.8).all()
    np.testing.assert_array_equal(alone.gradients, 61.0)
    noisy = search(well, start, Plan(Geometric(1.0, 0.05, 300), 300, 0.2), descend)
    assert (noisy.U < 0.0).mean() > 0.8
    assert noisy.converged.all() and (noisy.values <= alone.values + 1e-12).all()


def test_an_interrupted_search_goes_on() -> None:
    well = Well(2.0, 0.3)
    start, plan, descend = np.full((1, 3), 0.9), Plan(COLD, 30, 0.2, seed=4), newton_well(well)
    whole, kept = search(well, start, plan, descend, numbers=[3, 1, 8]), []

    def watch(flow: AnnealedFlow) -> None:
        kept.append(flow.state)
        if flow.iteration == 11:
            raise Interrupted

    with pytest.raises(Interrupted):
        search(well, start, plan, descend, numbers=[3, 1, 8], watch=watch)
    again = search(well, kept[-1], plan, descend, numbers=[3, 1, 8])
    for a, b in zip(whole, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_failed_descents_are_not_called_converged() -> None:
    action = network_action()
    landscape = ActionLandscape(action)
    start = landscape.draw(1, 0, range(1))
    found = search(
        landscape, start, Plan(COLD, 2, 0.1), quasi_newton(action, tolerance=1e-9, iterations=2)
    )
    assert not found.converged.any() and found.values < landscape.value(start)


def test_a_column_where_the_action_fails_does_not_stop_the_others() -> None:
    """As the last iterate under minibatches may: an implicit stage that the other samples do not have."""
    action = network_action(
        count=5, scheme_name="midpoint", lift="linear", activation_name="softplus"
    )
    U = np.zeros((action.create().getSize(), 3))
    U[:, 1] = 1e3 * np.random.default_rng(0).standard_normal(len(U))
    down = quasi_newton(action, tolerance=1e-6)(U)
    assert down.converged.tolist() == [True, False, True] and np.isnan(down.values[1])
    np.testing.assert_array_equal(down.U[:, 1], U[:, 1])
    assert down.values[0] == down.values[2] < ActionLandscape(action).value(U[:, :1])[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"steps": -1}, "-1 steps"), ({"ends": ()}, "descends from"), ({"ends": ("x",)}, "'best'")],
)
def test_plans_that_cannot_be(options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Plan(**({"schedule": COLD, "steps": 1, "step": 0.1} | options))


# Replicas -----------------------------------------------------------------------------------------


def test_replicas_have_the_product_of_their_laws() -> None:
    """Mean position and action at each temperature, from the wrong well; the coldest alone stays."""
    well, theta = Well(4.0, 0.3), np.array([0.08, 0.2, 0.45, 1.0])
    replicas = Replicas(
        lambda: well,
        theta,
        lambda numbers: np.ones((1, numbers.size)),
        step=0.5,
        every=2,
        comm=MPI.COMM_SELF,
    )
    many = 3000
    seen = np.empty((2, 4, many))
    for i in range(-100, many):
        replicas.advance()
        if i >= 0:
            seen[:, :, i] = replicas.gathered()[0], replicas.values()
    for r in range(4):
        assert abs(seen[0, r].mean() - well.mean(lambda u: u, theta[r])) < 4 * standard_error(
            seen[0, r][None]
        )
        energy = well.mean(lambda u: well.value(u[None]), theta[r])
        assert abs(seen[1, r].mean() - energy) < 4 * standard_error(seen[1, r][None])
    assert (replicas.exchanged > 0.3).all()
    single = AnnealedFlow(well, Constant(0.08), step=0.5, U0=np.ones((1, 1)), accept="metropolis")
    for _ in range(1000):
        single.advance()
    assert single.U[0, 0] > 0.0 > well.mean(lambda u: u, 0.08)
    np.testing.assert_array_equal(replicas.best().values, well.value(replicas.best().U))


def test_replicas_search() -> None:
    """Exchange brings the coldest to the lower well; each ends at a stationary point."""
    well, theta = Well(2.0, 0.3), np.array([0.05, 0.2, 0.6, 1.5])
    replicas = Replicas(
        lambda: well, theta, lambda n: np.full((1, n.size), 0.9), step=0.4, comm=MPI.COMM_SELF
    )
    seen: list[int] = []
    found = replicas.search(
        150, lambda: newton_well(well), watch=lambda replicas: seen.append(replicas.rounds)
    )
    assert seen == list(range(1, 151)) and found.converged.all()
    assert replicas.gathered()[0, 0] < 0.0 and found.values.min() < -0.29
    assert (found.gradients >= 151.0 + 60.0).all()
    np.testing.assert_array_equal(found.noisy, replicas.best().values)


def test_exchanges_keep_the_law_exactly() -> None:
    """Detailed balance of one exchange, on a grid: ``pi(x) p(x -> x')`` is symmetric."""
    theta, A = np.array([0.3, 0.8]), np.array([0.1, 1.3])
    # Two states of each replica: swapping temperatures is swapping the states.
    weight = np.exp(-A[:, None] / theta[0] - A[None, :] / theta[1])
    probability = np.exp(np.minimum((1 / theta[0] - 1 / theta[1]) * (A[:, None] - A[None, :]), 0.0))
    np.testing.assert_allclose(weight * probability, (weight * probability).T)
    many = 4000
    accepted = 0
    for seed in range(many):
        replicas = Replicas(
            lambda: Quadratic(np.eye(1), np.eye(1)),
            theta,
            lambda numbers: np.zeros((1, numbers.size)),
            step=0.1,
            seed=seed,
            comm=MPI.COMM_SELF,
        )
        replicas._exchange(A)
        accepted += int(replicas.at[0] == 1)
    p = probability[0, 1]
    assert abs(accepted / many - p) < 4 * np.sqrt(p * (1 - p) / many)
    assert replicas.exchanged[0] == pytest.approx(p)


def test_replicas_go_on() -> None:
    """From their state, bit for bit; the size of the batches does not matter here either."""
    theta = np.geomspace(0.1, 1.0, 5)
    options: Any = {"step": 0.4, "seed": 3, "comm": MPI.COMM_SELF}

    def start(numbers: Array) -> Array:
        return np.linspace(-1.0, 1.0, 5)[numbers][None]

    whole = Replicas(Well, theta, start, batch=2, **options)
    other = Replicas(Well, theta, start, batch=5, **options)
    for i in range(20):
        whole.advance()
        other.advance()
        if i == 8:
            half = Replicas(Well, theta, whole.state, batch=2, **options)
    for _ in range(11):
        half.advance()
    for name in ("values", "gathered"):
        np.testing.assert_array_equal(getattr(whole, name)(), getattr(half, name)())
        np.testing.assert_array_equal(getattr(whole, name)(), getattr(other, name)())
    np.testing.assert_array_equal(whole.exchanged, half.exchanged)
    assert (whole.at != np.arange(5)).any()


@pytest.mark.parametrize("theta", [[1.0], [1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
def test_ladders_that_cannot_be(theta: list[float]) -> None:
    with pytest.raises(InputError, match="increase"):
        Replicas(Well, np.array(theta), lambda n: np.zeros((1, n.size)), step=0.1)


@pytest.mark.parametrize(("many", "batch"), [(5, 1), (5, 3), (4, 2), (6, 2)])
def test_a_state_of_other_replicas_is_refused(many: int, batch: int) -> None:
    options: Any = {"step": 0.4, "comm": MPI.COMM_SELF}
    theta = np.geomspace(0.1, 1.0, 6)
    state = Replicas(Well, theta[:5], lambda n: np.zeros((1, n.size)), batch=2, **options).state
    with pytest.raises(InputError, match=r"in batches of \[2, 2, 1\], but"):
        Replicas(Well, theta[:many], state, batch=batch, **options)


def test_a_bad_start_of_a_replica_is_told() -> None:
    with pytest.raises(NumericalFailure, match="not finite"):
        Replicas(Well, np.array([1.0, 2.0]), lambda n: np.full((1, n.size), np.nan), step=0.1)


# PETSc's TS ---------------------------------------------------------------------------------------


@pytest.fixture
def options():
    """Options of PETSc for one test."""
    data, given = PETSc.Options(), []

    def give(**values: Any) -> None:
        for key, value in values.items():
            data.setValue(key, value)
            given.append(key)

    yield give
    for key in given:
        data.delValue(key)


def flow_of(step: float = 0.1, columns: int = 1) -> AnnealedFlow:
    landscape = ActionLandscape(PathAction(oscillator("midpoint", False), 2.0))
    U0 = landscape.draw(0, 0, range(columns))
    return AnnealedFlow(landscape, COLD, step=step, U0=U0, numbers=range(columns), accept="contour")


def test_ts_is_the_flow(options: Any, capfd: Any) -> None:
    """Options and monitors; the column is the one that advance() gives."""
    options(own_ts_dt=0.2, own_ts_max_steps=5, own_ts_monitor="", own_ts_view="")
    stepper = FlowStepper(flow_of(), 30, "own_")
    seen = []
    stepper.ts.setMonitor(lambda ts, n, t, x: seen.append((n, t, x.norm())))
    flow, by_hand = stepper.solve(), flow_of(0.2)
    for _ in range(5):
        by_hand.advance()
    np.testing.assert_array_equal(flow.U, by_hand.U)
    assert flow.iteration == 5 and stepper.time == pytest.approx(1.0)
    assert [n for n, _, _ in seen] == list(range(6))
    np.testing.assert_allclose(seen[-1][2], np.linalg.norm(flow.U))
    out = capfd.readouterr().out
    assert "5 TS dt 0.2 time 1." in out and "accept: contour" in out
    stepper.destroy()


def test_ts_goes_on_and_stops_in_time(options: Any) -> None:
    """A restart has the number of its step; at the final time the step is shorter."""
    whole = FlowStepper(flow_of(), 9)
    whole.solve()
    first = FlowStepper(flow_of(), 4).solve()
    landscape = first.landscape
    again = AnnealedFlow(landscape, COLD, step=0.1, U0=first.state, accept="contour")
    stepper = FlowStepper(again, 9)
    stepper.solve()
    np.testing.assert_array_equal(stepper.flow.U, whole.flow.U)
    assert stepper.time == pytest.approx(0.9) and stepper.ts.getStepNumber() == 9
    options(ts_max_time=0.25)
    short = FlowStepper(flow_of(), 100)
    short.solve()
    assert short.time == 0.25 and short.flow.iteration == 3
    by_hand = flow_of()
    for k in (0.1, 0.1, 0.05):
        by_hand.advance(k)
    np.testing.assert_allclose(short.flow.U, by_hand.U, rtol=1e-12)


@pytest.mark.parametrize(("step", "end"), [(0.1, 5.049), (0.03, 2.005)])
def test_a_shorter_last_step_is_the_same_after_a_restart(
    options: Any, step: float, end: float
) -> None:
    """Bit for bit, where the sum of the steps and their number times the step differ by rounding."""
    options(ts_max_time=end)
    whole = FlowStepper(flow_of(step), 10**6).solve()
    half = flow_of(step)
    while half.iteration < whole.iteration - 3:
        half.advance()
    again = AnnealedFlow(half.landscape, COLD, step=step, U0=half.state, accept="contour")
    stepper = FlowStepper(again, 10**6)
    assert stepper.solve().iteration == whole.iteration and stepper.time == end
    np.testing.assert_array_equal(again.U, whole.U)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"ts_adapt_type": "basic"}, "no error estimate"),
        ({"ts_type": "theta"}, "for equations without noise"),
        ({"ts_dt": -0.1}, "-0.1"),
    ],
)
def test_options_that_cannot_be(options: Any, option: dict[str, Any], words: str) -> None:
    options(**option)
    with pytest.raises(InputError, match=words):
        FlowStepper(flow_of(), 5)


def test_a_search_obeys_ts(options: Any) -> None:
    """Length and number of the steps; the plan says so beforehand, and monitors see all columns."""
    options(ts_dt=0.3, ts_max_steps=4)
    well, plan = Well(2.0, 0.3), Plan(COLD, 30, 0.2)
    start, seen = np.array([[0.9, -0.8]]), []
    watched: Any = lambda flow: seen.append((flow.iteration, flow.step))  # noqa: E731
    found = search(well, start, plan, newton_well(well), watch=watched)
    assert seen == [(n, 0.3) for n in (1, 2, 3, 4)]
    assert (plan.obeying_options().step, plan.obeying_options().steps) == (0.3, 4)
    by_hand = AnnealedFlow(well, COLD, step=0.3, U0=start, numbers=[0, 1])
    stepper = FlowStepper(AnnealedFlow(well, COLD, step=0.2, U0=start, numbers=[0, 1]), 9)
    sums = []
    stepper.ts.setMonitor(lambda ts, n, t, x: sums.append(x.sum()))
    stepper.solve()
    for _ in range(4):
        by_hand.advance()
    assert sums[-1] == by_hand.U.sum() and len(sums) == 5
    np.testing.assert_array_equal(found.noisy, by_hand.best.values)
