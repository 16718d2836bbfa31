"""Many networks side by side: each as if it were alone, and Taylor's theorem for all of them."""

from __future__ import annotations

import numpy as np
import pytest
from problems import network_action

from fem_deepest.action.network.replicas import Replicas
from fem_deepest.errors import InputError
from fem_deepest.spaces import Parameters

CASES = [
    {},
    {"scheme_name": "rk2", "activation_name": "sigmoid", "lift": "linear", "leak": 0.3},
    {"scheme_name": "rk4", "loss": "least_squares", "readout": "observed", "index": "interval"},
    {"scheme_name": "midpoint", "activation_name": "softplus", "lift": "linear"},
    # The fixed point of the stage does not contract: Newton and direct solves.
    {"scheme_name": "midpoint", "depth": 9.0, "leak": 0.2, "loss": "least_squares"},
    {"count": 600},  # three tiles, the last one short
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_replicas_are_networks(options: dict) -> None:
    """Value and gradient of five networks against :class:`NetworkAction`, one after the other."""
    action = network_action(**options)
    replicas = Replicas(action)
    w = 0.5 * np.random.default_rng(0).standard_normal((5, replicas.size))
    parts, g = replicas.gradient(w)
    u, one = action.create(), action.create()
    scale = np.abs(g).max()
    for i in range(5):
        u.array[...] = w[i]
        value = action.gradient(u, one)
        np.testing.assert_allclose(g[i], one.array_r, rtol=0, atol=1e-12 * scale)
        expected = value, action.parts.misfit, action.parts.prior, action.parts.score
        score = action.loss.score(parts.score[i], action.samples, action.network.outputs)
        found = parts.action[i], parts.misfit[i], parts.prior[i], score
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    for one_part, other in zip(replicas.value(w), parts, strict=True):
        np.testing.assert_array_equal(one_part, other)
    z = np.random.default_rng(1).standard_normal((action.network.inputs, 7))
    outputs = [action.network.output(action.space.parameters(row.copy()), z) for row in w]
    np.testing.assert_allclose(replicas.output(w, z), outputs, rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("depth", [2.0, 9.0])  # fixed point and Newton's method
def test_a_large_neighbour_takes_no_digits(depth: float) -> None:
    """Implicit stages are solved to the rounding of each network, not to that of the largest one."""
    replicas = Replicas(
        network_action(count=5, scheme_name="midpoint", lift="linear", depth=depth, leak=0.2)
    )
    w = np.zeros((2, replicas.size))
    w[0] = 0.2 * np.random.default_rng(0).standard_normal(replicas.size)
    alone, g = replicas.gradient(w[:1])
    Parameters.view(w[1:], replicas.network.shapes).lift[...] = 1e12  # its states are as large
    both, h = replicas.gradient(w)
    assert both.action[0] == pytest.approx(alone.action[0], rel=1e-12)
    np.testing.assert_allclose(h[0], g[0], rtol=0, atol=1e-12 * np.abs(g).max())


@pytest.mark.parametrize("options", CASES[:5], ids=str)
def test_taylor(options: dict) -> None:
    """The remainder after the gradient is of second order, for every replica by itself."""
    replicas = Replicas(network_action(**options))
    w, d = np.random.default_rng(2).standard_normal((2, 4, replicas.size))
    w, d = 0.5 * w, d / np.linalg.norm(d, axis=1, keepdims=True)
    parts, g = replicas.gradient(w)
    slope = np.sum(g * d, axis=1)
    h = np.array([4e-3, 2e-3, 1e-3])
    left = [np.abs(replicas.value(w + s * d).action - parts.action - s * slope) for s in h]
    np.testing.assert_allclose(np.log2(np.divide(left[:-1], left[1:])), 2.0, atol=0.15)


def test_states_as_unknowns_are_refused() -> None:
    for more in ({"R_f": 3.0}, {"R_0": 3.0}):
        with pytest.raises(InputError, match="R_f = R_0 = inf"):
            Replicas(network_action(**more))
