"""A readout by regression, against ridge regression in plain NumPy and the gradient of the action."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from levels import configuration, iteration
from problems import index_matrices, network_action, random_control

from fem_deepest.action.network.regression import regress_readout
from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.section import validate
from fem_deepest.configuration.train import load
from fem_deepest.errors import InputError
from fem_deepest.runs.start import begin
from fem_deepest.solve.memory import dual_norm

OPTIONS: dict[str, dict[str, Any]] = {
    "points": {},
    "P0": {"index": "interval"},
    "P1": {"index": "lumped", "ell": 0.4},
    "P1, consistent": {"index": "consistent", "ell": 0.4},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_it_is_ridge_regression(options: dict[str, Any]) -> None:
    action = network_action(loss="least_squares", **options)
    u = random_control(action, seed=3)
    before = u.array.copy()
    regress_readout(action, u)
    parameters = action.space.parameters(u.array_r)
    old = action.space.parameters(before)
    assert np.array_equal(parameters.theta, old.theta)
    assert not np.array_equal(parameters.readout, old.readout)

    network = action.network
    inputs = np.concatenate(action.tiles.inputs, axis=1)
    targets = np.concatenate(action.tiles.targets, axis=1)
    mass, stiffness = index_matrices(options.get("index", "points"), network.index.neurons)
    x = network.states(parameters, inputs)[-1]
    f = np.vstack([mass @ x, np.ones(x.shape[1])])
    smooth = np.eye(len(f))
    smooth[:-1, :-1] = mass + options.get("ell", 0.0) ** 2 * stiffness
    # Rows sqrt(R_m/K) f_k and a root of the prior in one system of least squares.
    weight = np.sqrt(action.loss.precision / action.samples)
    root = np.linalg.cholesky(action.metric.strength * smooth).T
    rows = np.vstack([weight * f.T, root])
    right = np.vstack([weight * targets.T, np.zeros((len(f), len(targets)))])
    ridge = np.linalg.lstsq(rows, right, rcond=None)[0].T
    bound = 1e-13 * np.linalg.cond(rows) ** 2 * np.abs(ridge).max()
    assert np.abs(parameters.readout - ridge).max() < bound

    g = action.create()
    action.gradient(u, g)
    scale = np.abs(action.metric.strength * parameters.readout).max()
    assert np.abs(action.space.parameters(g.array_r).readout).max() < 1e-11 * max(scale, 1.0)


@pytest.mark.parametrize(
    "options", [{}, {"loss": "least_squares", "readout": "observed"}], ids=["classes", "fixed"]
)
def test_what_has_no_regression(options: dict[str, Any]) -> None:
    action = network_action(**options)
    with pytest.raises(InputError, match=r"regression needs action\.loss = 'least_squares'"):
        regress_readout(action, random_control(action, seed=3))


def test_no_regression_before_a_search_with_noise() -> None:
    with pytest.raises(InputError, match="start of a search with noise"):
        load({"network": {"start_readout": "regression"}, "search": {"steps": 5}})
    with pytest.raises(InputError, match="one start of a training"):
        validate(NetworkAnnealConfig, {"network": {"start_readout": "regression"}})


def test_a_tolerance_is_relative_to_the_start_without_readout() -> None:
    """Both starts have one reference, and the regression has gone some of the way to any tolerance."""
    searches = {}
    for name in ("zero", "regression"):
        config = configuration(
            "P1",
            data={"test_fraction": 0.0},
            network={"start_readout": name},
            action={"loss": "least_squares"},
        )
        nest = iteration(config)
        searches[name] = begin(nest, config), nest.action(nest.schedule.levels[0])
    (zero, action), (regression, _) = searches.values()
    assert zero.reference == regression.reference
    g = action.create()
    action.gradient(zero.u, g)
    assert dual_norm(action.metric, g) == zero.reference
    assert not action.space.parameters(zero.u.array_r).readout.any()
    action.gradient(regression.u, g)
    assert dual_norm(action.metric, g) < 0.5 * regression.reference

    regress_readout(action, zero.u)
    assert np.array_equal(zero.u.array_r, regression.u.array_r)
