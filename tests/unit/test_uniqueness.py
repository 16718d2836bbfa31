"""The bound on the misfit's curvature holds where it is tried, and uniqueness is claimed rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.linalg
from problems import dense, network_action, random_control

from fem_deepest.action.curvature import MisfitCurvature
from fem_deepest.action.network import NetworkAction
from fem_deepest.errors import InputError
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.uniqueness import uniqueness

SMALL: dict[str, Any] = {"neurons": 2, "inputs": 2, "outputs": 2, "cells": 2, "count": 4}


def matrices(action: NetworkAction, u: Any) -> tuple[np.ndarray, np.ndarray]:
    """Second variation of the misfit, and ``Q``."""
    strength = action.metric.strength
    metric = dense(action.metric.apply, action)
    hessian = dense(lambda d, r: action.hessian(u, d, r), action) - metric
    return 0.5 * (hessian + hessian.T), metric / strength


def in_the_ball(action: NetworkAction, radius: float, seed: int) -> Any:
    """Random control on the sphere ``|u|_Q = radius``."""
    u, r = random_control(action, seed), action.create()
    action.metric.apply(u, r)
    u.scale(radius / np.sqrt(u.dot(r) / action.metric.strength))
    return u


@pytest.mark.parametrize("loss", ["cross_entropy", "least_squares"])
@pytest.mark.parametrize(
    "options",
    [
        {"scheme_name": "euler", "lift": "linear"},
        {"scheme_name": "rk2", "activation_name": "sigmoid", "leak": 0.3},
        {"scheme_name": "rk4", "index": "interval", "readout": "observed"},
        {"scheme_name": "midpoint", "lift": "linear", "index": "interval", "leak": 0.3},
        {"scheme_name": "euler", "activation_name": "softplus", "readout": "observed"},
        {"scheme_name": "midpoint", "activation_name": "sigmoid", "depth": 0.4},
    ],
    ids=str,
)
def test_no_curvature_below_the_bound(options: dict[str, Any], loss: str) -> None:
    action = network_action(loss=loss, **SMALL, **options)
    misfit = MisfitCurvature(action)
    for radius in (0.05, 0.4, 1.2):
        bound = misfit.bound(radius)
        for seed in range(3):
            hessian, Q = matrices(action, in_the_ball(action, radius, seed))
            lowest = scipy.linalg.eigh(hessian, Q, eigvals_only=True, subset_by_index=[0, 0])[0]
            assert lowest >= -bound - 1e-12
        assert bound > 0.0


def test_the_bound_is_not_far_from_the_truth_for_small_weights() -> None:
    """At ``u = 0`` with a linear readout the mixed derivative in readout and weights is all there is."""
    action = network_action(loss="least_squares", **SMALL)
    hessian, Q = matrices(action, action.create())
    lowest = scipy.linalg.eigh(hessian, Q, eigvals_only=True, subset_by_index=[0, 0])[0]
    assert -lowest <= MisfitCurvature(action).bound(1e-8) <= -20.0 * lowest


def test_bound_grows_and_threshold_is_its_fixed_point() -> None:
    misfit = MisfitCurvature(network_action(**SMALL))
    radii = np.linspace(0.0, 2.0, 9)
    assert np.all(np.diff([misfit.bound(radius) for radius in radii]) > 0.0)
    threshold = misfit.threshold()
    assert misfit.bound(misfit.radius(threshold)) == pytest.approx(threshold, rel=1e-8)
    for factor, proved in ((0.99, False), (1.01, True)):
        strength = factor * threshold
        assert (misfit.bound(misfit.radius(strength)) < strength) == proved


def test_no_bound_for_steps_that_are_too_long() -> None:
    misfit = MisfitCurvature(
        network_action(scheme_name="midpoint", activation_name="softplus", depth=90.0, **SMALL)
    )
    assert misfit.bound(5.0) == np.inf


def test_proved_minimiser_is_unique_and_its_eigenvalue_above_the_bound() -> None:
    threshold = MisfitCurvature(network_action(loss="least_squares", **SMALL)).threshold()
    action = network_action(loss="least_squares", strength=1.2 * threshold, **SMALL)
    minimisers = []
    for seed in range(4):
        u = random_control(action, seed, 1.0)
        outcome = minimise(
            action, u, LimitedMemory(action.metric, 10), tolerance=1e-10, iterations=500
        )
        assert outcome.converged
        minimisers.append(u.array.copy())
        report = uniqueness(action, u)
        assert report.unique
        assert 0.0 < report.proven <= report.lowest + report.error
        assert report.threshold == pytest.approx(threshold, rel=1e-8)
        norm, r = action.create(), action.create()
        u.copy(norm)
        action.metric.apply(norm, r)
        assert np.sqrt(norm.dot(r) / action.metric.strength) <= report.radius
        assert "unique (proved)" in str(report)
    np.testing.assert_allclose(minimisers[1:], minimisers[:1] * 3, atol=1e-7)


def _odd(strength: float) -> NetworkAction:
    """Zero is stationary, and (lift, b, readout) -> -(lift, b, readout) changes nothing."""
    z = np.linspace(-1.0, 1.0, 8)[:, None]
    return network_action(
        loss="least_squares",
        data=(z, np.sin(2.0 * z)),
        strength=strength,
        lift="linear",
        neurons=2,
        inputs=1,
        outputs=1,
        cells=2,
    )


def test_nothing_is_claimed_where_there_are_two_minimisers() -> None:
    """The pitchfork at ``u = 0`` is at a ``lambda`` below the threshold, and not far below."""
    action = _odd(1.0)
    zero, g = action.create(), action.create()
    action.gradient(zero, g)
    assert g.norm() < 1e-14
    hessian, Q = matrices(action, zero)
    pitchfork = -scipy.linalg.eigh(hessian, Q, eigvals_only=True)[0]
    threshold = MisfitCurvature(action).threshold()
    assert 0.0 < pitchfork < threshold < 50.0 * pitchfork
    below = _odd(0.8 * pitchfork)
    u = random_control(below, 2, 0.3)
    memory = LimitedMemory(below.metric, 10)
    assert minimise(below, u, memory, tolerance=1e-10, iterations=500).converged
    mirror = u.copy()
    p = below.space.parameters(mirror.array)
    p.theta[:, :, -1] *= -1.0
    p.lift[...] *= -1.0
    p.readout[:, :-1] *= -1.0
    assert below.value(mirror) == pytest.approx(below.value(u), rel=1e-12)
    report = uniqueness(below, u)
    assert not report.unique
    assert report.proven < report.lowest
    assert np.abs(mirror.array - u.array).max() > 1e-3
    assert "not proved" in str(report)


@pytest.mark.parametrize("option", [{"R_f": 5.0}, {"R_0": 5.0}], ids=str)
def test_refused_with_forcings(option: dict[str, float]) -> None:
    with pytest.raises(InputError, match="strong constraint"):
        MisfitCurvature(network_action(**SMALL, **option))
