"""State form of a network: the same action as the forcing form, with exact derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import dense, network_action, random_control

from fem_deepest.action.network.bijection import to_forcing, to_states
from fem_deepest.action.network.path import OneStage
from fem_deepest.action.network.states import StateAction
from fem_deepest.errors import InputError
from fem_deepest.network.coupling.lowrank import LowRank

CASES = {
    "midpoint": {"scheme_name": "midpoint"},
    "euler": {"scheme_name": "euler"},
    "midpoint-soft-leak": {"scheme_name": "midpoint", "R_0": 3.0, "leak": 0.3},
    "euler-lift-interval": {"scheme_name": "euler", "lift": "linear", "index": "interval"},
    "midpoint-lift-soft": {"scheme_name": "midpoint", "lift": "linear", "R_0": 2.0},
    "midpoint-pad": {"scheme_name": "midpoint", "readout": "pad", "loss": "least_squares"},
    "euler-lumped-ell": {"index": "lumped", "ell": 0.4, "lift": "linear", "R_0": 2.0, "leak": 0.2},
    "midpoint-consistent-ell": {"scheme_name": "midpoint", "index": "consistent", "ell": 0.4},
    "sigmoid": {"scheme_name": "midpoint", "activation_name": "sigmoid", "loss": "least_squares"},
}
cases = pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())


def _pair(options):
    forcing = network_action(**({"R_f": 7.0, "count": 8} | options))
    return forcing, StateAction(forcing)


@cases
def test_the_action_is_that_of_the_forcing_form(options):
    forcing, states = _pair(options)
    v = random_control(forcing)
    u = to_states(states, v)
    back = to_forcing(states, u)
    expected = forcing.value(v)
    assert states.value(u) == pytest.approx(expected, rel=1e-12)
    for name in ("misfit", "model", "prior", "score"):
        assert getattr(states.parts, name) == pytest.approx(getattr(forcing.parts, name), rel=1e-12)
    # A step 1/h amplifies the rounding of the sweep.
    np.testing.assert_allclose(back.array, v.array, rtol=0.0, atol=1e-12)


@cases
def test_gradient_is_the_chain_rule_of_the_bijection(options):
    """``dA/dv . dv`` in the forcing form is ``dA/du . du`` with ``du`` by central differences."""
    forcing, states = _pair(options)
    v, d = random_control(forcing), random_control(forcing, 1)
    g, h = forcing.create(), states.create()
    forcing.gradient(v, g)
    states.gradient(to_states(states, v), h)
    step, du = 1e-5, []
    for sign in (1.0, -1.0):
        moved = v.copy()
        moved.axpy(sign * step, d)
        du.append(to_states(states, moved).array)
    expected = h.array @ (du[0] - du[1]) / (2 * step)
    assert g.dot(d) == pytest.approx(expected, rel=1e-7)


@cases
def test_taylor(options):
    """Remainders fall with slope 2 with the gradient, 3 with the Hessian product."""
    _, action = _pair(options)
    u, d = random_control(action), random_control(action, 1)
    g, r = action.create(), action.create()
    value = action.gradient(u, g)
    action.hessian(u, d, r)
    steps = 2.0 ** -np.arange(4, 9)
    first, second = [], []
    for h in steps:
        w = u.copy()
        w.axpy(h, d)
        remainder = action.value(w) - value - h * g.dot(d)
        first.append(abs(remainder))
        second.append(abs(remainder - 0.5 * h**2 * d.dot(r)))
    slopes = [np.diff(np.log2(x))[-1] for x in (first, second)]
    assert slopes[0] == pytest.approx(-2.0, abs=0.05)
    assert slopes[1] == pytest.approx(-3.0, abs=0.1)


@cases
def test_hessian_and_metric_are_symmetric(options):
    _, action = _pair(options | {"count": 3, "cells": 3})
    u = random_control(action)
    hessian = dense(lambda d, r: action.hessian(u, d, r), action)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-13 * np.abs(hessian).max())
    metric = dense(action.metric.apply, action)
    np.testing.assert_allclose(metric, metric.T, atol=1e-13 * np.abs(metric).max())
    inverse = dense(action.metric.solve, action)
    np.testing.assert_allclose(metric @ inverse, np.eye(len(metric)), atol=1e-10)


def test_other_couplings_have_no_state_form():
    strong = network_action(R_f=3.0).network
    with pytest.raises(InputError, match="got the coupling 'LowRank', expected a dense one"):
        OneStage(replace(strong, coupling=LowRank(strong.index, 2)))


def test_the_strong_constraint_has_no_state_form():
    with pytest.raises(InputError, match="R_f = inf"):
        StateAction(network_action())
    with pytest.raises(InputError, match="rk2"):
        StateAction(network_action(R_f=1.0, scheme_name="rk2"))
