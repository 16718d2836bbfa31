"""Conjugate gradients on the weight Schur complement against the data space, and its counts."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from problems import dense, network_action, random_control
from test_states import CASES

from fem_deepest.action.network.bijection import to_states
from fem_deepest.action.network.states import StateAction
from fem_deepest.solve.network.dataspace import DataSpace
from fem_deepest.solve.network.gauss_newton import GaussNewton
from fem_deepest.solve.network.schur import COARSE, WeightSchur

cases = pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())


@cases
@pytest.mark.parametrize("two_level", [True, False], ids=["two-level", "prior"])
def test_solves_what_the_data_space_solves(options, two_level):
    action = StateAction(network_action(**({"R_f": 7.0, "count": 9, "cells": 12} | options)))
    u, r = random_control(action), random_control(action, 1)
    d, expected = action.create(), action.create()
    solver = partial(WeightSchur, two_level=two_level, tolerance=1e-13)
    for tau in (1.0, 2.5):
        GaussNewton(action, u, DataSpace).solve(r, expected, tau)
        system = GaussNewton(action, u, solver)
        system.solve(r, d, tau)
        assert system.solver.iterations > 0
        scale = np.abs(expected.array).max()
        np.testing.assert_allclose(d.array, expected.array, atol=1e-9 * scale)


@pytest.mark.parametrize(("index", "ell"), [("points", 0.0), ("lumped", 0.4), ("consistent", 0.4)])
def test_on_a_mesh_of_the_coarse_nodes_one_step_is_exact(index, ell):
    """Then the coarse space is everything, and its matrix must be ``S`` itself."""
    options = {"scheme_name": "midpoint", "lift": "linear", "index": index, "ell": ell}
    action = StateAction(network_action(R_f=7.0, count=9, cells=COARSE - 1, **options))
    u, r, d = random_control(action), random_control(action, 1), action.create()
    system = GaussNewton(action, u, partial(WeightSchur, tolerance=1e-9))
    system.solve(r, d)
    assert system.solver.iterations <= 1


@pytest.mark.parametrize("cells", [16, 64])
@pytest.mark.parametrize("R_f", [1.0, 1e3, 1e6])
def test_counts_do_not_depend_on_mesh_nor_precision(cells, R_f):
    forcing = network_action(
        R_f=R_f, cells=cells, count=40, scheme_name="midpoint", grading=1.0, strength=1e-3
    )
    action, v = StateAction(forcing), forcing.create()
    # Weights that do not depend on the depth, the same on every mesh.
    parameters, random = forcing.space.parameters(v.array), np.random.default_rng(0)
    parameters.theta[...] = random.standard_normal(parameters.theta.shape[1:])
    parameters.readout[...] = random.standard_normal(parameters.readout.shape)
    u, r, d = to_states(action, v), action.create(), action.create()
    action.gradient(u, r)
    counts = []
    for two_level in (True, False):
        system = GaussNewton(action, u, partial(WeightSchur, two_level=two_level))
        system.solve(r, d)
        counts.append(system.solver.iterations)
    assert counts[0] <= 10 < counts[1]


def test_product_is_symmetric():
    action = StateAction(network_action(R_f=7.0, count=5, cells=10, lift="linear"))
    system = GaussNewton(action, random_control(action), WeightSchur)
    r, d = random_control(action, 1), action.create()
    system.solve(r, d)  # sets the damping

    class Space:
        create = staticmethod(system.weights.space.create)

    matrix = dense(system.solver.product, Space)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-13 * np.abs(matrix).max())
    assert np.linalg.eigvalsh(matrix).min() > 0.0
