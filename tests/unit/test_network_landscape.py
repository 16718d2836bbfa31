"""Networks side by side, with model errors or without, against one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import network_action

from fem_deepest.action.network.forced import ForcedReplicas
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.networks import NetworkLandscape

CASES: list[dict[str, Any]] = [
    {},
    {"R_f": 3.0},
    {"R_0": 5.0, "readout": "observed", "loss": "least_squares"},
    {"R_f": 3.0, "R_0": 2.0, "lift": "linear", "index": "interval", "scheme_name": "rk2"},
    {"R_f": 2.0, "R_0": 3.0, "scheme_name": "midpoint", "leak": 0.3},
    {"R_f": 2.0, "R_0": 3.0, "count": 300, "cells": 2},  # two tiles
    {"R_f": 3.0, "R_0": 2.0, "lift": "linear", "index": "lumped", "ell": 0.4},
    {"index": "consistent", "scheme_name": "rk2"},
]
all_cases = pytest.mark.parametrize("options", CASES, ids=str)


@all_cases
def test_blocks_are_the_action_column_by_column(options: dict[str, Any]) -> None:
    """Value, gradient, score, metric and draws; draws have the same numbers."""
    action = network_action(**options)
    landscape, single = NetworkLandscape(action), ActionLandscape(action)
    assert landscape.rows == single.rows
    U = 0.5 * np.random.default_rng(0).standard_normal((landscape.rows, 3))
    values, G = landscape.gradient(U)
    expected, H = single.gradient(U)
    np.testing.assert_allclose(values, expected, rtol=1e-13)
    np.testing.assert_allclose(G, H, rtol=0, atol=1e-13 * np.abs(H).max())
    np.testing.assert_array_equal(landscape.value(U), values)
    np.testing.assert_allclose(landscape.apply(U), single.apply(U), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(landscape.solve(U), single.solve(U), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(landscape.inner(G, U), np.sum(G * U, axis=0), rtol=1e-12)
    drawn = landscape.draw(3, 7, [4, 0, 9], 1)
    np.testing.assert_allclose(drawn, single.draw(3, 7, [4, 0, 9], 1), rtol=1e-11, atol=1e-12)
    u = action.create()
    for s in range(3):
        u.array[...] = U[:, s]
        action.value(u)
        assert landscape.score(U)[s] == pytest.approx(action.parts.score, rel=1e-14)


@pytest.mark.parametrize("bad", [[1], [0, 4], [0, 1, 2, 3, 4]])
def test_a_column_without_a_stage_does_not_stop_the_others(bad: list[int]) -> None:
    """Too long a step of the implicit midpoint rule with softplus: no number there, either way."""
    action = network_action(
        count=5, scheme_name="midpoint", lift="linear", activation_name="softplus"
    )
    landscape, single = NetworkLandscape(action), ActionLandscape(action)
    U = 0.1 * np.random.default_rng(0).standard_normal((landscape.rows, 5))
    U[:, bad] *= 1e3
    (values, G), (expected, H) = (L.gradient(U) for L in (landscape, single))
    good = np.setdiff1d(np.arange(5), bad)
    assert np.isnan(values[bad]).all() and np.isnan(expected[bad]).all()
    np.testing.assert_allclose(values[good], expected[good], rtol=1e-12)
    np.testing.assert_allclose(G[:, good], H[:, good], rtol=0, atol=1e-12)
    np.testing.assert_allclose(landscape.value(U), values, rtol=1e-12)


@all_cases
def test_the_covariance_of_draws_is_the_inverse_metric(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With unit vectors for normals a draw is the root ``R``: ``P R R^T = 1``."""
    landscape = NetworkLandscape(network_action(**{**options, "count": 3}))
    one = np.eye(landscape.rows)
    monkeypatch.setattr("fem_deepest.annealed.networks.normals", lambda *_: one)
    root = landscape.draw(0, 0, [0])
    np.testing.assert_allclose(landscape.apply(root @ root.T), one, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", CASES[1:5], ids=str)
def test_taylor(options: dict[str, Any]) -> None:
    """The remainder after the gradient is of second order, for every replica by itself."""
    replicas = ForcedReplicas(network_action(**options))
    w, d = np.random.default_rng(2).standard_normal((2, 4, replicas.size))
    w, d = 0.5 * w, d / np.linalg.norm(d, axis=1, keepdims=True)
    parts, g = replicas.gradient(w)
    np.testing.assert_allclose(parts.action, parts.misfit + parts.model + parts.prior, rtol=1e-14)
    slope = np.sum(g * d, axis=1)
    h = np.array([4e-3, 2e-3, 1e-3])
    left = [np.abs(replicas.value(w + s * d).action - parts.action - s * slope) for s in h]
    np.testing.assert_allclose(np.log2(np.divide(left[:-1], left[1:])), 2.0, atol=0.15)


def test_what_overflows_is_infinite_or_not_a_number() -> None:
    landscape = NetworkLandscape(network_action(loss="least_squares", readout="linear"))
    value = landscape.value(np.full((landscape.rows, 1), 1e200))
    assert not np.isfinite(value[0])
