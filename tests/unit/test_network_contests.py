"""Contests of networks: what is counted, what is compared, and a bad minimum known from elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from problems import network_action
from scipy.optimize import minimize

from fem_deepest.annealed.networks import NetworkLandscape
from fem_deepest.annealed.schedule import Geometric
from fem_deepest.annealed.search import Plan
from fem_deepest.data.digits import digits
from fem_deepest.data.toy import spiral
from fem_deepest.errors import InputError
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.studies.comparison import ANNEALING, MULTISTART, NOISE, NOISE_ANNEALING, PLAIN
from fem_deepest.studies.contests.network_ways import ladder, stochastic
from fem_deepest.studies.contests.networks import NetworkContest
from fem_deepest.studies.contests.twin import PRODUCT, WORTH, TwinContest, climbing
from fem_deepest.studies.methods import Tally
from fem_deepest.studies.named import load_study

SPIRAL = {
    "study": {"name": "compare_networks", "budget": 60, "seeds": 4},
    "data": {"name": "spiral", "samples": 120},
    "network": {"neurons": 6, "depth": 2.0, "cells": 3},
    "action": {"lambda": 2e-3},
    "problem": {"lowest": 0.0861},
    "noise": {"first": 1e-3, "last": 1e-5, "steps": 7, "step": 4e-3},
    "ladder": {"rungs": 2, "evaluations": 5},
}


def _nowhere(U, columns, tally, turn):
    """A way down that does nothing but remember where it was sent."""
    _nowhere.U = U.copy()


def test_a_ladder_counts_what_it_does_not_compare() -> None:
    """Two rungs of five gradients and a flow of seven: 5 + 5 (+ 1 + 7), nothing of which is a success."""
    strong = NetworkLandscape(network_action())
    rungs = [NetworkLandscape(network_action(R_f=R_f)) for R_f in (0.1, 1.0)]
    U = 0.5 * np.random.default_rng(0).standard_normal((strong.rows, 3))
    for plan, gradients in ((None, 10), (Plan(Geometric(1e-2, 1e-4, 7), 7, 1e-3), 18)):
        way = ladder(rungs, _nowhere, evaluations=5, tolerance=1e-9, noise=plan)
        tally = Tally(np.arange(5), 100, threshold=1e9)
        way(U, np.array([0, 1, 4]), tally, 0)
        np.testing.assert_array_equal(tally.used, [gradients, gradients, 0, 0, gradients])
        assert np.isinf(tally.lowest).all() and np.isinf(tally.hit).all()
        assert _nowhere.U.shape == U.shape
        # Without model errors a start has the action of the strong constraint on every rung.
        V = np.concatenate([U, np.zeros((rungs[0].rows - strong.rows, 3))])
        np.testing.assert_allclose(rungs[0].value(V), strong.value(U), rtol=1e-13)
        # The weights that are handed on have gone down.
        assert np.all(strong.value(_nowhere.U) < strong.value(U))


def test_a_ladder_keeps_weights_and_errors_of_inputs() -> None:
    """With soft inputs both are handed on, tile by tile: no gradient, nothing changes."""
    options = {"R_0": 2.0, "count": 300, "cells": 2}
    strong, rung = (NetworkLandscape(network_action(R_f=R_f, **options)) for R_f in (np.inf, 1.0))
    U = np.random.default_rng(0).standard_normal((strong.rows, 2))
    tally = Tally(np.arange(2), 0, threshold=0.0)
    ladder([rung], _nowhere, evaluations=5, tolerance=1e-9)(U, np.arange(2), tally, 0)
    np.testing.assert_array_equal(_nowhere.U, U)


def test_stochastic_gradients_are_counted_by_their_share() -> None:
    """Four epochs and three looks at the whole action are seven gradients; a small budget makes fewer."""
    action = network_action(count=20)
    landscape = NetworkLandscape(action)
    method = BatchDescent(eta=0.1, nu=0.5, batch=5, epochs=4, check=2)
    U = 0.5 * np.random.default_rng(0).standard_normal((landscape.rows, 2))
    for budget, used in ((100, 7.0), (5, 4.0)):
        tally = Tally(np.arange(2), budget, threshold=0.0)
        stochastic(action, method, _nowhere)(U, np.arange(2), tally, 0)
        np.testing.assert_array_equal(tally.used, used)
        assert np.all(landscape.value(_nowhere.U) < landscape.value(U))
        np.testing.assert_allclose(tally.lowest, landscape.value(_nowhere.U), rtol=1e-12)


def test_the_bad_minimum_of_the_spiral_is_logistic_regression() -> None:
    """With ``w = 0`` the network is a linear classifier; half of the starts end just below that."""
    data = spiral(120)
    z = np.column_stack([data.inputs, np.ones(120)])
    sign = 1.0 - 2.0 * data.targets

    def logistic(v):  # class 0 against class 1: v and -v, both in the prior
        return np.mean(np.logaddexp(0.0, -2.0 * sign * (z @ v))) + 2e-3 * (v @ v)

    linear = minimize(logistic, np.zeros(3), tol=1e-12).fun
    study = load_study({**SPIRAL, "seed": 3})
    contest = study.contest()
    assert isinstance(contest, NetworkContest)
    trial = contest.arms[PLAIN](np.arange(16), 400)
    stuck = trial.lowest > 0.9 * linear
    assert 3 <= stuck.sum() <= 13  # about half: binomial within four deviations
    np.testing.assert_allclose(trial.lowest[stuck], linear, rtol=2e-3)
    assert trial.lowest[stuck].max() <= linear * (1.0 + 1e-4)
    assert np.all(trial.lowest[~stuck] < 0.25 * linear)


def test_all_arms_have_one_start_and_keep_to_the_budget() -> None:
    contest = load_study(SPIRAL).contest()
    numbers = np.array([0, 3])
    start = contest.start(numbers, 0)
    np.testing.assert_array_equal(contest.start(np.array([3]), 0), start[:, 1:])
    assert np.abs(contest.start(numbers, 1) - start).max() > 0.1
    first = contest.landscape.value(start)
    for name in (PLAIN, MULTISTART, ANNEALING, NOISE, NOISE_ANNEALING):
        trial = contest.arms[name](numbers, 60)
        assert np.all(trial.used <= 60)
        assert np.all(trial.lowest < first)
        if name != PLAIN:
            np.testing.assert_array_equal(trial.used, 60)


def test_principal_components_of_digits() -> None:
    """Against the eigenvectors of the covariance."""
    values = {**SPIRAL, "data": {"name": "digits", "first": 100, "components": 3}}
    train = load_study(values).contest().problem.train
    raw = digits().inputs[:100]
    covariance = np.cov(raw.T, bias=True)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    assert train.inputs.shape == (100, 3)
    assert train.inputs.std() == pytest.approx(1.0)
    found = np.abs(train.inputs.T @ ((raw - raw.mean(axis=0)) @ vectors[:, :-4:-1])) / 100
    scale = np.sqrt(eigenvalues[:-4:-1].mean())
    np.testing.assert_allclose(found, np.diag(eigenvalues[:-4:-1]) / scale, atol=1e-9)


def test_what_is_not_there_is_refused() -> None:
    for more, message in (
        ({"name": "spiral", "samples": 50, "first": 60}, "data.first is 60, but there are 50"),
        ({"name": "spiral", "components": 3}, "data.components is 3"),
    ):
        with pytest.raises(InputError, match=message):
            load_study({**SPIRAL, "data": more}).contest()


TWIN = {
    "study": {"name": "compare_twin", "budget": 400, "seeds": 2},
    "data": {"name": "isometric", "samples": 3, "layers": 4},
    "network": {"neurons": 10, "depth": 4.0, "cells": 4, "leak": 0.25, "readout": "observed"},
    "action": {"lambda": 5e-3, "R_0": 4e4},
    "problem": {"lowest": 1e-2},
    "ladder": {"rungs": 3, "alpha": 100.0},
    "noise": {"first": 1e-2, "last": 1e-4, "steps": 4, "step": 1e-2},
    "rung_noise": {"first": 1e-2, "last": 1e-4, "steps": 4, "step": 1e-2},
}


def test_arms_of_a_twin() -> None:
    """All keep to the budget; the ladder compares its last rung alone, which is that of plain descent."""
    contest = load_study(TWIN).contest()
    assert isinstance(contest, TwinContest)
    numbers = np.arange(2)
    start = contest.start(numbers, 0)
    for name, arm in contest.arms.items():
        trial = arm(numbers, 400)
        assert np.all((trial.used > 0) & (trial.used <= 400)), name
        assert np.all(trial.lowest > 0.0), name
    u, way = contest.rungs[-1].create(), climbing(contest.rungs, 1e-4, 20)
    tally = Tally(numbers, 1e4, threshold=0.0)
    way(start, numbers, tally, 0)
    # The lowest level is a stationary value of the last action, far below the start.
    u.array[...] = start[:, 0]
    assert tally.lowest[0] < 1e-3 * contest.rungs[-1].value(u)
    one = Tally(numbers, 1e4, threshold=0.0)
    climbing(contest.rungs[-1:], 1e-4, 20)(start, numbers, one, 0)
    np.testing.assert_allclose(one.lowest, tally.lowest, rtol=0.2)  # three pairs: one level


def test_steps_of_levenberg_and_marquardt_cost_their_worth(monkeypatch) -> None:
    """A monitor that is told three steps, one of them with two products, one by quasi-Newton."""
    contest = load_study(TWIN).contest()
    action = contest.rungs[-1]

    def scripted(action, u, *, monitor, **_):
        from fem_deepest.solve.lmvm import Iterate

        for gradients, products in ((1, 0), (1, 1), (1, 2), (1, 0)):
            action.evaluations += gradients
            action.hessians += products
            monitor(Iterate(u, 1.0, 1.0, 0))

    monkeypatch.setattr("fem_deepest.studies.contests.twin.levenberg", scripted)
    tally = Tally(np.arange(1), 1e4, threshold=0.0)
    climbing([action], 1e-4, 1)(contest.start(np.arange(1), 0), np.arange(1), tally, 0)
    assert tally.used[0] == 4 + 3 * PRODUCT + 2 * WORTH
