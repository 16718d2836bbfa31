"""Levenberg-Marquardt against independent minimisers, its phases and its ends."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from problems import network_action, random_control
from scipy.optimize import minimize

from fem_deepest.action.network.bijection import to_forcing, to_states
from fem_deepest.action.network.states import StateAction
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.network.dataspace import DataSpace
from fem_deepest.solve.network.gauss_newton import GaussNewton
from fem_deepest.solve.network.levenberg import levenberg, weight_solver
from fem_deepest.solve.network.schur import WeightSchur
from fem_deepest.solve.newton import polish
from fem_deepest.solve.outcome import Outcome


def _action(**options):
    return StateAction(network_action(**({"R_f": 10.0, "scheme_name": "midpoint"} | options)))


def _run(action, u, **options):
    seen = []
    options = {"tolerance": 1e-9, "iterations": 200} | options
    outcome = levenberg(action, u, monitor=lambda i: seen.append((i.action, i.gradient)), **options)
    return outcome, seen


def _by_scipy(action, u):
    """BFGS of SciPy on the same action, dense."""
    v, g = action.create(), action.create()

    def function(x):
        v.array[...] = x
        value = action.gradient(v, g)
        return value, g.array.copy()

    return minimize(function, u.array.copy(), jac=True, method="BFGS", options={"gtol": 1e-8})


@pytest.mark.parametrize("R_f", [1e-2, 1.0, 1e2])
@pytest.mark.parametrize("solver", [DataSpace, partial(WeightSchur, tolerance=1e-10)], ids=str)
def test_reaches_the_minimiser_of_another_method(R_f, solver):
    """With this prior the minimiser is unique."""
    action = _action(R_f=R_f, strength=1.0, count=6, cells=3, neurons=3)
    u = random_control(action, scale=0.1)
    expected = _by_scipy(action, u)
    outcome, seen = _run(action, u, solver=solver)
    assert outcome.converged
    assert seen[-1][0] == pytest.approx(expected.fun, rel=1e-9)
    np.testing.assert_allclose(u.array, expected.x, atol=1e-4)
    # A step whose decrease drowns in rounding may go up by as much.
    assert all(after <= before * (1 + 1e-13) for (before, _), (after, _) in pairwise(seen))


def test_forcing_form_and_state_form_have_the_same_minimiser():
    """Newton's method of SNES on the forcing form stays where the state form has ended."""
    action = _action(strength=1e-1)
    u = random_control(action, scale=0.1)
    assert _run(action, u)[0].converged
    v, forcing = to_forcing(action, u), action.forcing
    g = forcing.create()
    forcing.gradient(v, g)
    # 1e-9 in the metric of one form, in the other's up to the norm of the bijection.
    assert dual_norm(forcing.metric, g) < 1e-7
    before = v.array.copy()
    assert polish(forcing, v, tolerance=1e-10, iterations=20).converged
    np.testing.assert_allclose(v.array, before, atol=1e-6)


@pytest.mark.parametrize("R_f", [1.0, 1e3])
def test_the_quasi_newton_method_in_the_depth_metric_meets_it(R_f):
    """The state form fulfils the protocol, so L-BFGS takes it as it is."""
    action = _action(R_f=R_f, strength=1.0, count=6, cells=8, neurons=3)
    u = random_control(action, scale=0.1)
    v, memory = u.copy(), LimitedMemory(action.metric, 20)
    assert _run(action, u)[0].converged
    assert minimise(action, v, memory, tolerance=1e-6, iterations=2000).converged
    # |g|^2 / (2 c), where the metric overrates the prior by R_f / lambda: c >= 1e-3.
    assert action.value(v) == pytest.approx(action.value(u), abs=1e-12 / 2e-3)


@pytest.mark.parametrize("scheme", ["euler", "midpoint"])
def test_the_strong_constraint(scheme):
    """Reduced Gauss-Newton steps end where Newton's method on the reduced action ends."""
    action = network_action(strength=1e-1, scheme_name=scheme)
    u = random_control(action, scale=0.1)
    outcome, _ = _run(action, u)
    assert outcome.converged
    before = u.array.copy()
    assert polish(action, u, tolerance=1e-11, iterations=20).converged
    np.testing.assert_allclose(u.array, before, atol=1e-6)


def test_tends_to_the_strong_constraint():
    """The action at the minimum is that of the strong constraint minus ``O(1/R_f)``."""
    strong = network_action(strength=1e-1, scheme_name="midpoint")
    w = random_control(strong, scale=0.1)
    assert _run(strong, w)[0].converged
    limit, gaps = strong.value(w), []
    for R_f in (1e4, 1e5, 1e6):
        action = _action(strength=1e-1, R_f=R_f)
        v = action.forcing.create()
        v.array[: w.getSize()] = w.array
        u = to_states(action, v)
        assert _run(action, u, tolerance=1e-7)[0].converged
        gaps.append(limit - action.value(u))
    np.testing.assert_allclose(np.divide(gaps[:-1], gaps[1:]), 10.0, rtol=0.05)


def test_the_last_steps_are_newtons():
    """Gauss-Newton steps alone converge linearly here: the residuals are large."""
    action = _action(R_f=1e-1, loss="least_squares", strength=1e-2)
    u = random_control(action, scale=0.3)
    outcome, seen = _run(action, u, tolerance=1e-10)
    assert outcome.converged
    norms = [norm for _, norm in seen]
    assert norms[-1] < 1e-3 * norms[-2]


def test_the_correction_takes_a_power_of_the_error_away():
    action = _action(strength=1e-1)
    u, d = random_control(action), random_control(action, 1)
    system = GaussNewton(action, u, DataSpace)
    before, errors = action.path(u).defect, []
    step = 1e-4
    ends = []
    for sign in (1.0, -1.0):
        trial = u.copy()
        trial.axpy(sign * step, d)
        ends.append(action.path(trial).defect)
    promised = (ends[0] - ends[1]) / (2 * step)
    sizes = 2.0 ** -np.arange(3, 7)
    for h in sizes:
        short, trial = d.copy(), u.copy()
        short.scale(h)
        trial.axpy(1.0, short)
        plain = np.abs(action.path(trial).defect - before - h * promised).max()
        system.correct(u, short, trial)
        corrected = np.abs(action.path(trial).defect - before - h * promised).max()
        errors.append((plain, corrected))
    slopes = np.diff(np.log2(errors), axis=0)[-1]
    assert slopes[0] == pytest.approx(-2.0, abs=0.2)
    assert slopes[1] < -2.8


def test_ends():
    action = _action(strength=1e-1, loss="least_squares")
    u = random_control(action, scale=0.1)
    outcome, seen = _run(action, u, iterations=3)
    assert outcome == Outcome(False, "diverged_maxits", 3)
    assert len(seen) == 4
    assert action.value(u) == seen[-1][0]
    outcome, seen = _run(action, u, decrease=1e-2, tolerance=0.0)
    assert outcome.reason == "converged_decrease"
    assert seen[-3][0] - seen[-1][0] <= 2.1e-2 * seen[-3][0]


def test_a_wild_start_ends_in_the_quasi_newton_method():
    """From here no damping of the Gauss-Newton step gives a decrease: the action stays at 58."""
    action = _action(strength=1e-2)
    u = random_control(action, 0, 0.5)
    outcome, seen = _run(action, u, tolerance=1e-5, iterations=3000)
    assert outcome.converged
    assert seen[-1][0] < 1.0
    g = action.create()
    action.gradient(u, g)
    assert dual_norm(action.metric, g) <= 1e-5


def test_an_untrusted_step_hands_over_to_the_quasi_newton_method_once():
    """A hundred of its steps cost a gradient or two each, and the count of steps has no gap."""
    action = _action(R_f=1e3, strength=1e-2)
    numbers, costs = [], []

    def monitor(iterate):
        numbers.append(iterate.iteration)
        costs.append((action.evaluations, action.hessians))

    u = random_control(action, 0, 0.3)
    outcome = levenberg(action, u, tolerance=1e-6, iterations=500, monitor=monitor)
    assert outcome.converged
    assert numbers == list(range(outcome.iterations + 1))
    # Every Levenberg-Marquardt step looks at the exact second variation, so does the trial step before
    # the first of the others, and they never do.
    gradients, hessians = np.diff(costs, axis=0).T
    (quasi,) = np.nonzero(hessians == 0)
    np.testing.assert_array_equal(quasi, quasi[0] + np.arange(99))
    assert gradients[quasi].sum() <= 2 * 99


@pytest.mark.parametrize("R_f", [1.0, 1e3])
def test_nothing_is_left_to_win_at_a_minimum(R_f):
    """Where all decrease drowns in rounding its ratio to the promise must not raise the damping."""
    action = _action(R_f=R_f, strength=1.0)
    u = random_control(action, scale=0.1)
    assert _run(action, u, tolerance=1e-10)[0].converged
    outcome, _ = _run(action, u, tolerance=0.0, decrease=1e-4)
    assert outcome == Outcome(True, "converged_decrease", 2)


def test_bad_starts():
    action = _action()
    u = action.create()
    u.array[...] = np.nan
    with pytest.raises(NumericalFailure, match="at the start"):
        _run(action, u)
    with pytest.raises(InputError, match="state form"):
        levenberg(action.forcing, action.forcing.create(), tolerance=1e-8, iterations=3)


def test_the_solver_follows_the_number_of_data():
    assert weight_solver(_action(count=20)) is DataSpace
    assert weight_solver(_action(count=1500, cells=1, neurons=3)) is WeightSchur
