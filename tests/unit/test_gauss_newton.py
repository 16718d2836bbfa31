"""Elimination of the states against dense linear algebra, in the data space and by iterations."""

from __future__ import annotations

import numpy as np
import pytest
from problems import dense, network_action, random_control
from test_states import CASES

from fem_deepest.action.network.bijection import to_forcing, to_states
from fem_deepest.action.network.linearised import Linearised
from fem_deepest.action.network.states import StateAction
from fem_deepest.errors import InputError
from fem_deepest.solve.network.dataspace import DataSpace
from fem_deepest.solve.network.gauss_newton import GaussNewton

cases = pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
SMALL = {"count": 4, "cells": 2, "neurons": 3}


def _actions(options):
    forcing = network_action(**({"R_f": 7.0} | SMALL | options))
    return forcing, StateAction(forcing)


def _bijection_derivative(states, forcing, u):
    """``d(w, xi)/du`` by central differences, (size, size)."""
    columns, step = [], 1e-6
    for i in range(u.getSize()):
        ends = []
        for sign in (1.0, -1.0):
            moved = u.copy()
            moved.array[i] += sign * step
            ends.append(to_forcing(states, moved).array)
        columns.append((ends[0] - ends[1]) / (2 * step))
    return np.stack(columns, axis=1)


@cases
def test_the_inverse_is_that_of_the_dense_matrix(options):
    """The matrix is ``T^T (tau P + J^T J) T`` from the Gauss-Newton product of the forcing form."""
    forcing, states = _actions(options)
    v = random_control(forcing)
    u = to_states(states, v)
    product = dense(lambda d, r: forcing.gauss_newton(v, d, r), forcing)
    change = _bijection_derivative(states, forcing, u)
    prior = change.T @ dense(forcing.metric.apply, forcing) @ change
    system = GaussNewton(states, u, DataSpace)
    for tau in (1.0, 3.0):
        matrix = change.T @ product @ change + (tau - 1.0) * prior
        inverse = dense(lambda r, d, tau=tau: system.solve(r, d, tau), states)
        # The central differences are good to 1e-9 of entries up to the precisions.
        np.testing.assert_allclose(inverse @ matrix, np.eye(len(matrix)), atol=2e-6)
    damping = dense(system.damping, states)
    np.testing.assert_allclose(damping, prior, atol=1e-7 * np.abs(prior).max())


@cases
def test_sweeps_are_transposes(options):
    _, states = _actions(options)
    lin = Linearised(states, random_control(states))
    random = np.random.default_rng(0)
    source, start = (
        random.standard_normal(lin.slope.shape),
        random.standard_normal(lin.inputs.shape),
    )
    start = random.standard_normal(lin.nodes[0].shape)
    dual, eta = random.standard_normal(lin.nodes.shape), random.standard_normal((4, 3))
    q, q0 = lin.adjoint(dual)
    expected = np.vdot(lin.forward(source, start), dual)
    assert np.vdot(q, source) + np.vdot(q0, start) == pytest.approx(expected, rel=1e-12)
    states = random.standard_normal(lin.nodes.shape)
    expected = np.vdot(lin.defects(states), source)
    assert np.vdot(lin.defects_transposed(source), states) == pytest.approx(expected, rel=1e-12)
    # L and its inverse.
    np.testing.assert_allclose(lin.defects(lin.forward(source, start)), source, atol=1e-13)
    q, q0 = lin.outputs_transposed(eta)
    expected = np.vdot(lin.outputs(source, start), eta)
    assert np.vdot(q, source) + np.vdot(q0, start) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"loss": "least_squares", "lift": "linear"}], ids=str)
@pytest.mark.parametrize("scheme", ["euler", "midpoint"])
def test_the_strong_constraint_is_the_reduced_gauss_newton_method(options, scheme):
    action = network_action(**(SMALL | options), scheme_name=scheme)
    u = random_control(action)
    matrix = dense(lambda d, r: action.gauss_newton(u, d, r), action)
    system = GaussNewton(action, u, DataSpace)
    inverse = dense(system.solve, action)
    np.testing.assert_allclose(inverse @ matrix, np.eye(len(matrix)), atol=1e-9)


def test_refuses_forcings_and_schemes_of_several_stages():
    action = network_action(R_f=3.0)
    with pytest.raises(InputError, match="state form"):
        GaussNewton(action, action.create(), DataSpace)
    action = network_action(scheme_name="rk4")
    with pytest.raises(InputError, match="rk4"):
        GaussNewton(action, action.create(), DataSpace)
