"""The bound on the misfit's curvature holds where it is tried, and uniqueness is claimed rightly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from mpi4py import MPI
from problems import dense, network_action, random_control

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.curvature import MisfitCurvature
from fem_deepest.errors import InputError
from fem_deepest.network.loss import LeastSquares
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.uniqueness import uniqueness
from fem_deepest.spaces import ProcessGrid

SMALL: dict[str, Any] = {"neurons": 2, "inputs": 2, "outputs": 2, "cells": 2, "count": 4}


def lowest_of_misfit(action: NetworkAction, u: Any) -> float:
    """Lowest eigenvalue of the misfit's second variation in the metric ``P``."""
    metric = dense(action.metric.apply, action)
    hessian = dense(lambda d, r: action.hessian(u, d, r), action) - metric
    hessian = 0.5 * (hessian + hessian.T)
    return float(scipy.linalg.eigh(hessian, metric, eigvals_only=True, subset_by_index=[0, 0])[0])


def size(action: NetworkAction, u: Any) -> float:
    """``|u|_P``."""
    r = action.create()
    action.metric.apply(u, r)
    return float(np.sqrt(u.dot(r)))


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
        {"scheme_name": "euler", "R_f": 3.0, "R_0": 2.0, "lift": "linear"},
        {"scheme_name": "rk4", "R_f": 0.3, "readout": "observed", "index": "interval"},
        {"scheme_name": "midpoint", "R_0": 0.5, "R_f": 2.0, "leak": 0.3},
        {"scheme_name": "euler", "lift": "linear", "index": "lumped", "ell": 0.3},
        {"scheme_name": "rk2", "R_f": 2.0, "R_0": 2.0, "index": "lumped", "readout": "observed"},
    ],
    ids=str,
)
def test_no_curvature_below_the_bound(options: dict[str, Any], loss: str) -> None:
    """Tried at random points of the ball; half of them with all of the size in few unknowns."""
    for strength in (0.1, 1.0, 30.0):
        action = network_action(loss=loss, strength=strength, **SMALL, **options)
        misfit = MisfitCurvature(action)
        bound = misfit.bound(strength)
        assert bound > 0.0
        for seed in range(4):
            u = random_control(action, seed)
            if seed % 2:
                u.array[np.abs(u.array) < np.quantile(np.abs(u.array), 0.8)] = 0.0
            u.scale(misfit.radius / size(action, u))
            assert lowest_of_misfit(action, u) >= -bound - 1e-12


@pytest.mark.parametrize("scheme_name", ["euler", "rk4", "midpoint"])
@pytest.mark.parametrize(
    "options", [{}, {"lift": "linear"}, {"R_f": 3.0, "R_0": 2.0}, {"R_f": 0.5}], ids=str
)
def test_the_bound_is_sharp_for_one_neuron_and_small_weights(
    options: dict[str, Any], scheme_name: str
) -> None:
    """Near ``u = 0`` the mixed derivative in readout and the rest is all there is, and it is attained.

    One sample, one neuron, a short depth; the forcings leave ``|x|`` uncertain, so their data are small.
    """
    strength, z = 1e8, 0.0  # at z = 0 the convex part of the misfit does not see these directions
    target = 1e-3 if "R_f" in options else 2.0
    action = network_action(
        loss="least_squares",
        strength=strength,
        data=(np.array([[z]]), np.array([[target]])),
        **{"neurons": 1, "inputs": 1, "outputs": 1, "cells": 2, "depth": 0.05},
        **options,
        scheme_name=scheme_name,
    )
    lowest = lowest_of_misfit(action, action.create())
    assert 1.0 <= MisfitCurvature(action).bound(strength) / -lowest <= 1.03


@pytest.mark.parametrize("options", [{}, {"R_f": 3.0, "R_0": 2.0}], ids=str)
def test_bound_falls_and_the_threshold_is_where_it_is_one(options: dict[str, float]) -> None:
    misfit = MisfitCurvature(network_action(**SMALL, **options))
    strengths = np.logspace(0.0, 4.0, 9)
    assert np.all(np.diff([misfit.bound(strength) for strength in strengths]) < 0.0)
    threshold = misfit.threshold()
    assert misfit.bound(threshold) == pytest.approx(1.0, rel=1e-7)
    assert misfit.bound(0.99 * threshold) > 1.0 > misfit.bound(1.01 * threshold)


def test_no_bound_for_steps_that_are_too_long() -> None:
    misfit = MisfitCurvature(
        network_action(scheme_name="midpoint", activation_name="softplus", depth=90.0, **SMALL)
    )
    assert misfit.bound(0.1) == np.inf


@pytest.mark.parametrize("weak", [{}, {"R_f": 5.0, "R_0": 5.0}], ids=str)
def test_proved_minimiser_is_unique_and_its_eigenvalue_above_the_bound(
    weak: dict[str, float],
) -> None:
    options = {"loss": "least_squares", **SMALL, **weak}
    threshold = MisfitCurvature(network_action(**options)).threshold()
    action = network_action(strength=1.2 * threshold, **options)
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
        assert size(action, u) <= report.radius
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
    pitchfork = -lowest_of_misfit(action, zero)  # lambda is 1, and J''(0) does not depend on it
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


def test_refuses_what_the_bound_does_not_know() -> None:
    with pytest.raises(InputError, match="got the consistent mass, expected a lumped one"):
        MisfitCurvature(network_action(index="consistent"))


def test_bound_with_projected_inputs_and_outputs() -> None:
    """A fixed lift gives the first norms, a fixed readout its own."""
    random = np.random.default_rng(0)
    z, y = random.standard_normal((4, 2)), random.standard_normal((4, 2))
    plain = network_action(index="lumped", neurons=3, inputs=2, outputs=2, cells=2, readout="pad")
    enter, leave = random.standard_normal((3, 2)), random.standard_normal((2, 3))
    net = replace(plain.network, enter=enter, leave=leave)
    for strength in (0.1, 1.0, 30.0):
        action = NetworkAction(
            ProcessGrid.create(MPI.COMM_SELF), net, LeastSquares(1.0), z, y, strength=strength
        )
        misfit = MisfitCurvature(action)
        for seed in range(3):
            u = random_control(action, seed)
            u.scale(misfit.radius / size(action, u))
            assert lowest_of_misfit(action, u) >= -misfit.bound(strength) - 1e-12
