"""Dynamics in UFL against the same by hand."""

from __future__ import annotations

import numpy as np
import pytest
import ufl

from fem_deepest.dynamics.byhand import check
from fem_deepest.dynamics.coupling import Coupling
from fem_deepest.dynamics.lorenz63 import Lorenz63
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.pendulum import Pendulum
from fem_deepest.dynamics.symbolic import Symbolic
from fem_deepest.errors import InputError


def ring(t, x, w):
    return [x[(i - 1) % 5] * (x[(i + 1) % 5] - x[(i - 2) % 5]) - x[i] + w[0] for i in range(5)]


def butterfly(t, x, w):
    s, r, b = w[0], w[1], w[2]
    return ufl.as_vector([s * (x[1] - x[0]), x[0] * (r - x[2]) - x[1], x[0] * x[1] - b * x[2]])


def layer(t, x, w):
    """With tensor algebra instead of components."""
    kernel = ufl.as_matrix([[w[0], w[1]], [w[3], w[4]]])
    z = ufl.dot(kernel, x) + ufl.as_vector([w[2], w[5]])
    return ufl.as_vector([ufl.tanh(z[i]) for i in range(2)]) - 0.5 * x


CASES = {
    "lorenz96": (Lorenz96(5), Symbolic(5, ("f",), ring)),
    "lorenz63": (Lorenz63(), Symbolic(3, ("s", "r", "b"), butterfly)),
    "pendulum": (
        Pendulum(),
        Symbolic(2, ("g", "c"), lambda t, x, w: [x[1], -w[0] * ufl.sin(x[0]) - w[1] * x[1]]),
    ),
    "coupling": (
        Coupling(2, leak=0.5),
        Symbolic(2, [f"w{i}" for i in range(6)], layer),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_one_by_hand(name):
    hand, symbolic = CASES[name]
    rng = np.random.default_rng(0)
    x, p = rng.standard_normal((2, 4, 3, 2, hand.states))
    w = rng.standard_normal((4, 1, 1, len(hand.parameters)))
    t = rng.random((3, 2))
    f_x, f_w = hand.jacobian(t, x, w)
    for a, b in zip(
        (symbolic.value(t, x, w), *symbolic.jacobian(t, x, w), *symbolic.curvature(t, x, w, p)),
        (hand.value(t, x, w), *hand.jacobian(t, x, w), *hand.curvature(t, x, w, p)),
        strict=True,
    ):
        np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), atol=1e-13)
    for a, b in zip(symbolic.adjoint(t, x, w, p), (f_x, f_w), strict=True):
        np.testing.assert_allclose(a, (p[..., None, :] @ b)[..., 0, :], atol=1e-13)


def test_all_kinds_of_functions_pass_the_taylor_test():
    def field(t, x, w):
        a, b = x[0], x[1]
        i = ufl.Index()
        return [
            ufl.exp(-(a**2)) * ufl.cos(w[0] * b) / (2.0 + ufl.inner(x, x)) + t**2 * a,
            ufl.sqrt(1.0 + a**2) * ufl.ln(3.0 + b**2) + ufl.atan(a * b) + x[i] * x[i] * w[1],
            ufl.conditional(ufl.gt(a, -100.0), ufl.sinh(0.1 * a) * w[0], b) + ufl.erf(x[2]) ** 3,
        ]

    system = Symbolic(3, ("a", "b"), field)
    check(system, np.zeros(3), np.zeros(2))
    x, w, t = np.array([0.3, -0.7, 0.2]), np.array([1.1, 0.4]), np.array(0.5)
    expected = np.exp(-0.09) * np.cos(0.77) / (2.0 + x @ x) + 0.25 * 0.3
    assert system.value(t, x, w)[0] == pytest.approx(expected, rel=1e-14)


def test_conditional_takes_either_branch():
    system = Symbolic(1, (), lambda t, x, w: [ufl.conditional(ufl.lt(x[0], 0.0), x[0], x[0] ** 2)])
    x = np.array([[-2.0], [3.0]])
    np.testing.assert_array_equal(system.value(np.zeros(2), x, np.zeros((2, 0))), [[-2.0], [9.0]])
    f_x, f_w = system.jacobian(np.zeros(2), x, np.zeros((2, 0)))
    np.testing.assert_array_equal(f_x[:, 0, 0], [1.0, 6.0])
    assert f_w.shape == (2, 1, 0)


def test_common_parts_are_computed_once():
    once = Symbolic(2, (), lambda t, x, w: [ufl.sin(x[0] * x[1]), ufl.sin(x[0] * x[1])])
    assert once._value.operations == 2


def test_an_expression_that_uses_itself_twice_stays_small():
    def field(t, x, w):
        y = x[0]
        for _ in range(8):
            y = y + ufl.sin(y)  # a tree of 2^8 leaves, a graph of 16 nodes
        return [y]

    system = Symbolic(1, (), field)
    assert system._value.operations == 16
    y = 0.01
    for _ in range(8):
        y += np.sin(y)
    assert system.value(np.zeros(()), np.array([0.01]), np.zeros(0))[0] == pytest.approx(y)


def test_refusals():
    with pytest.raises(InputError, match=r"mine: F in UFL has shape \(3,\), expected \(2,\)"):
        Symbolic(2, (), lambda t, x, w: [x[0], x[1], x[0]], name="mine")
    with pytest.raises(InputError, match="expected \\(2,\\)"):
        Symbolic(2, (), lambda t, x, w: x[0])
    import basix.ufl

    domain = ufl.Mesh(basix.ufl.element("Lagrange", "interval", 1, shape=(1,)))
    with pytest.raises(InputError, match="SpatialCoordinate"):
        Symbolic(1, (), lambda t, x, w: [x[0] * ufl.SpatialCoordinate(domain)[0]])


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 8, 9, -2, 0.5])
def test_powers(n):
    """Whole ones are products; with their derivative."""
    symbolic = Symbolic(1, (), lambda t, x, w: [x[0] ** n])
    x = np.array([[0.3], [1.7], [2.0]])
    w, t = np.empty((3, 0)), np.zeros(3)
    np.testing.assert_allclose(symbolic.value(t, x, w), x**n, rtol=1e-15)
    np.testing.assert_allclose(symbolic.jacobian(t, x, w)[0][..., 0], n * x ** (n - 1), rtol=1e-14)
