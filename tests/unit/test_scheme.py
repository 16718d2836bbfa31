"""Tableaux: order conditions, symplecticity, and the order that is measured."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import SCHEMES
from scipy.integrate import solve_ivp

from fem_deepest.errors import InputError
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.flow import Flow
from fem_deepest.network.scheme import Scheme, scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace

Array = NDArray[np.float64]

each_scheme = pytest.mark.parametrize("name", SCHEMES)


@each_scheme
def test_tableau_is_consistent(name: str) -> None:
    s = scheme(name)
    a = np.array(s.a)
    assert s.name == name
    assert a.shape == (s.stages, s.stages)
    assert sum(s.b) == pytest.approx(1.0, abs=1e-15)
    np.testing.assert_allclose(a.sum(axis=1), s.c, atol=1e-15)
    np.testing.assert_array_equal(np.triu(a, 1), 0.0)
    assert [s.abscissae[slot] for slot in s.slot] == list(s.c)
    assert sorted(set(s.abscissae)) == list(s.abscissae)


@each_scheme
def test_declared_order_is_that_of_the_order_conditions(name: str) -> None:
    """Rooted trees up to order four and one of order five (Butcher 1963)."""
    s = scheme(name)
    a, b, c = np.array(s.a), np.array(s.b), np.array(s.c)
    defects = {
        1: [b.sum() - 1],
        2: [b @ c - 1 / 2],
        3: [b @ c**2 - 1 / 3, b @ a @ c - 1 / 6],
        4: [
            b @ c**3 - 1 / 4,
            (b * c) @ a @ c - 1 / 8,
            b @ a @ c**2 - 1 / 12,
            b @ a @ a @ c - 1 / 24,
        ],
        5: [b @ c**4 - 1 / 5],
    }
    for order in range(1, s.order + 1):
        assert np.abs(defects[order]).max() < 1e-15
    assert np.abs(defects[s.order + 1]).max() > 1e-3


def test_only_the_midpoint_rule_is_symplectic() -> None:
    assert [name for name in SCHEMES if scheme(name).symplectic] == ["midpoint"]
    gauss = np.sqrt(3) / 6  # the two-stage Gauss method is, though it is no scheme of this package
    a = ((0.25, 0.25 - gauss), (0.25 + gauss, 0.25))
    assert Scheme("gauss4", a, (0.5, 0.5), (0.5 - gauss, 0.5 + gauss), 4).symplectic


def test_unknown_scheme() -> None:
    with pytest.raises(InputError, match=r"leapfrog.*euler"):
        scheme("leapfrog")


# The field w(t) = w_0 + t w_1 is linear, so it is the same function on every depth mesh: a smooth
# field that is interpolated on the mesh of the steps would limit every scheme to order two.
_random = np.random.default_rng(8)
W0, W1 = 1.2 * _random.standard_normal((2, 4, 5))
X0, Q1 = _random.standard_normal((2, 4, 3))
LEAK, DEPTH = 0.4, 1.5


def _reference() -> tuple[Array, Array, Array]:
    """``x(T)``, ``q(0)`` and ``int F_w^T q dt`` of the continuous problem, to about 1e-12."""

    def forward(t: float, x: Array) -> Array:
        w, x = W0 + t * W1, x.reshape(4, 3)
        return (-LEAK * x + np.tanh(w[:, :4] @ x + w[:, 4:])).ravel()

    def adjoint(t: float, xqg: Array) -> Array:
        w, x, q = W0 + t * W1, xqg[:12].reshape(4, 3), xqg[12:24].reshape(4, 3)
        slope = 1.0 - np.tanh(w[:, :4] @ x + w[:, 4:]) ** 2
        dq = LEAK * q - w[:, :4].T @ (slope * q)
        dg = -(slope * q) @ np.vstack([x, np.ones(3)]).T
        return np.concatenate([forward(t, xqg[:12]), dq.ravel(), dg.ravel()])

    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    x1 = solve_ivp(forward, (0.0, DEPTH), X0.ravel(), **options).y[:, -1]
    end = np.concatenate([x1, Q1.ravel(), np.zeros(20)])
    xqg = solve_ivp(adjoint, (DEPTH, 0.0), end, **options).y[:, -1]
    np.testing.assert_allclose(xqg[:12], X0.ravel(), atol=1e-9)  # there and back again
    return x1.reshape(4, 3), xqg[12:24].reshape(4, 3), xqg[24:].reshape(4, 5)


# Largest error of x(T), q(0) and the gradient on the finest mesh: twice what was measured, since a
# slope alone would also be that of a scheme with a large constant or of a wrong limit.
CAP = {"euler": 3e-2, "rk2": 2e-4, "rk4": 5e-8, "midpoint": 2e-4}


@pytest.mark.parametrize("grading", [1.0, 1.5])
@each_scheme
def test_order_of_states_costates_and_gradient(name: str, grading: float) -> None:
    exact = _reference()
    errors = []
    for cells in (16, 32, 64, 128):
        depth = DepthMesh.graded(DEPTH, cells, grading)
        s = scheme(name)
        flow = Flow(depth.steps, Dense(NeuronSpace.points(4)), 3, s, activation("tanh"), LEAK)
        theta = depth.at_stages(s.abscissae, W0 + depth.nodes[:, None, None] * W1)
        x, q, gradient = X0.copy(), Q1.copy(), np.zeros((cells, len(s.abscissae), 4, 5))
        flow.forward(theta, x)
        flow.adjoint(theta, q, gradient)
        got = x, q, gradient.sum(axis=(0, 1))
        errors.append([np.abs(g - e).max() for g, e in zip(got, exact, strict=True)])
    slopes = np.log2([np.divide(*pair) for pair in pairwise(errors)])[-1]
    np.testing.assert_allclose(slopes, s.order, atol=0.15)
    assert np.max(errors[-1]) < CAP[name], errors[-1]
