"""Dynamical systems against their formulas in complex arithmetic, and systems of the user's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from test_defects import Oscillator

from fem_deepest.dynamics.byhand import ByHand, check
from fem_deepest.dynamics.coupling import Coupling
from fem_deepest.dynamics.dynamics import Transposable
from fem_deepest.dynamics.lorenz63 import Lorenz63
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.named import SYSTEMS, named
from fem_deepest.dynamics.named import coupling as coupling_of
from fem_deepest.dynamics.pendulum import Pendulum
from fem_deepest.errors import InputError
from fem_deepest.network.activation import sigmoid, tanh

Array = NDArray[np.float64]


def lorenz63(x: Array, w: Array) -> Array:
    s, r, b = w
    return np.array([s * (x[1] - x[0]), x[0] * (r - x[2]) - x[1], x[0] * x[1] - b * x[2]])


def pendulum(x: Array, w: Array) -> Array:
    return np.array([x[1], -w[0] * np.sin(x[0]) - w[1] * x[1]])


def coupling(sigma, leak: float):  # type: ignore[no-untyped-def]
    def field(x: Array, w: Array) -> Array:
        table = w.reshape(3, 4)
        return sigma(table[:, :3] @ x + table[:, 3]) - leak * x

    return field


def logistic(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))


CASES = {
    "lorenz63": (Lorenz63(), lorenz63),
    "pendulum": (Pendulum(), pendulum),
    "tanh": (Coupling(3, tanh(), 0.5), coupling(np.tanh, 0.5)),
    "sigmoid": (Coupling(3, sigmoid()), coupling(logistic, 0.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_value_and_jacobian_by_hand(name: str) -> None:
    system, plain = CASES[name]
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(system.states), rng.standard_normal(len(system.parameters))
    dx, dw = rng.standard_normal(x.shape), rng.standard_normal(w.shape)
    t = np.zeros(())
    np.testing.assert_allclose(system.value(t, x, w), plain(x, w), atol=1e-14)
    f_x, f_w = system.jacobian(t, x, w)
    step = plain(x + 1e-30j * dx, w + 1e-30j * dw).imag * 1e30
    np.testing.assert_allclose(f_x @ dx + f_w @ dw, step, atol=1e-13)


@pytest.mark.parametrize(
    "system", [Lorenz96(4), Lorenz96(7), Coupling(3, tanh(), 0.5), Coupling(4, sigmoid())]
)
@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_transposed_products(system: Any, many: bool) -> None:
    """Without the matrices, and with them; parameters may broadcast."""
    rng = np.random.default_rng(3)
    lead = (2, 3) if many else ()
    x, p = rng.standard_normal((2, *lead, system.states))
    w = rng.standard_normal((*([2, 1] if many else []), len(system.parameters)))
    assert isinstance(system, Transposable)
    f_x, f_w = system.jacobian(np.zeros(()), x, w)
    g_x, g_w = system.adjoint(np.zeros(()), x, w, p)
    np.testing.assert_allclose(g_x, np.einsum("...i,...ij->...j", p, f_x), atol=1e-13)
    np.testing.assert_allclose(g_w, np.einsum("...i,...ij->...j", p, f_w), atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_curvature_is_the_derivative_of_the_jacobian(name: str) -> None:
    system, _ = CASES[name]
    rng = np.random.default_rng(1)
    x, p, dx = rng.standard_normal((3, system.states))
    w, dw = rng.standard_normal((2, len(system.parameters)))
    t = np.zeros(())
    f_xx, f_xw, f_ww = system.curvature(t, x, w, p)
    np.testing.assert_allclose(f_xx, f_xx.T, atol=1e-15)
    np.testing.assert_allclose(f_ww, f_ww.T, atol=1e-15)
    e = 1e-5
    ends = [system.jacobian(t, x + s * e * dx, w + s * e * dw) for s in (1.0, -1.0)]
    in_x, in_w = ((p @ a - p @ b) / (2 * e) for a, b in zip(*ends, strict=True))
    np.testing.assert_allclose(f_xx @ dx + f_xw @ dw, in_x, atol=1e-8)
    np.testing.assert_allclose(f_xw.T @ dx + f_ww @ dw, in_w, atol=1e-8)


@pytest.mark.parametrize("system", [*(c[0] for c in CASES.values()), Lorenz96(5), Oscillator()])
def test_leading_axes_broadcast(system) -> None:  # type: ignore[no-untyped-def]
    """As in the defects: (B, n, Q, D) states with (B, 1, 1, P) parameters."""
    rng = np.random.default_rng(2)
    D, P = system.states, len(system.parameters)
    x, p, w = (
        rng.standard_normal((2, 3, 2, D)),
        rng.standard_normal((2, 3, 2, D)),
        rng.standard_normal((2, 1, 1, P)),
    )
    t = rng.random((3, 2))
    all_at_once = (
        system.value(t, x, w),
        *system.jacobian(t, x, w),
        *system.curvature(t, x, w, p),
    )
    for k in np.ndindex(2, 3, 2):
        one = (t[k[1:]], x[k], w[k[0], 0, 0])
        single = (system.value(*one), *system.jacobian(*one), *system.curvature(*one, p[k]))
        for whole, part in zip(all_at_once, single, strict=True):
            np.testing.assert_allclose(
                np.broadcast_to(whole, (2, 3, 2, *part.shape))[k], part, atol=1e-13
            )
    check(system, np.zeros(D), np.zeros(P))


def by_hand(wrong: str = "") -> ByHand:
    """The pendulum as a user writes it, with one mistake."""
    right = Pendulum()

    def jacobian(t, x, w):  # type: ignore[no-untyped-def]
        f_x, f_w = right.jacobian(t, x, w)
        f_x[..., 1, 0] *= -1.0 if wrong == "F_x" else 1.0
        f_w[..., 1, 1] *= 1.5 if wrong == "F_w" else 1.0
        return f_x, f_w

    def curvature(t, x, w, p):  # type: ignore[no-untyped-def]
        f_xx, f_xw, f_ww = right.curvature(t, x, w, p)
        f_xx[..., 0, 0] *= 0.0 if wrong == "p.F_xx" else 1.0
        f_xw[..., 1, 1] *= 2.0 if wrong == "p.F_xw" else 1.0
        f_ww[..., 0, 1] += 1.0 if wrong == "p.F_ww" else 0.0
        return f_xx, f_xw, f_ww

    return ByHand(2, ("g", "c"), right.value, jacobian, curvature, name="mine")


def test_a_system_by_hand_is_taken() -> None:
    system = by_hand()
    assert (system.name, system.states, system.parameters) == ("mine", 2, ("g", "c"))


@pytest.mark.parametrize("wrong", ["F_x", "F_w", "p.F_xx", "p.F_xw", "p.F_ww"])
def test_a_wrong_derivative_is_named_with_its_slope(wrong: str) -> None:
    with pytest.raises(
        InputError, match=rf"mine: the derivative {wrong} is wrong.*slope (0\.9|1\.)"
    ):
        by_hand(wrong)


def test_wrong_shapes_are_named() -> None:
    right = Pendulum()
    with pytest.raises(InputError, match=r"F has shape \(3,\).*expected \(3, 2\)"):
        ByHand(2, ("g", "c"), lambda t, x, w: x[..., 0], right.jacobian, right.curvature)
    with pytest.raises(InputError, match="not finite"):
        ByHand(2, ("g", "c"), lambda t, x, w: np.log(-np.abs(x)), right.jacobian, right.curvature)
    with pytest.raises(InputError, match="to check at"):
        ByHand(2, ("g", "c"), right.value, right.jacobian, right.curvature, at=([0.0], [0.0]))


def test_names() -> None:
    for name in SYSTEMS:
        found = named(name)
        assert found.dynamics.name == name
        assert len(found.typical) == len(found.dynamics.parameters)
        assert found.start.shape == (found.dynamics.states,)
        # A pendulum with friction has come to rest after a while; the others are chaotic.
        assert (found.spin_up > 0.0) == (name != "pendulum")
    assert named("lorenz96", 7).dynamics.states == 7
    with pytest.raises(InputError, match="expected one of"):
        named("lorenz")
    with pytest.raises(InputError, match="3 states, got 4"):
        named("lorenz63", 4)
    with pytest.raises(InputError, match="at least one"):
        Coupling(0)


def test_layer_by_name_preserves_signals() -> None:
    """Without activation its weights are those of a rotation: the spectrum is imaginary."""
    found = coupling_of(4, "sigmoid", 1.0, 0.2)
    assert isinstance(found.dynamics, Coupling)
    assert (found.dynamics.leak, found.dynamics.activation.name) == (0.2, "sigmoid")
    table = np.reshape(found.typical, (4, 5))
    spectrum = np.linalg.eigvals(table[:, :4])
    np.testing.assert_allclose(spectrum.real, 0.0, atol=1e-14)
    assert np.abs(spectrum.imag).max() > 0.1
    np.testing.assert_array_equal(table[:, 4], 0.0)
    assert np.shape(found.start) == (4,)
    assert coupling_of(None, "tanh", 1.0, 0.0).dynamics.states == 3


def test_logistic_is_the_sigmoid() -> None:
    z = np.linspace(-3.0, 3.0, 7)
    np.testing.assert_allclose(logistic(z), expit(z), rtol=1e-15)
