"""Activations against closed forms, their derivatives against the complex step."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.network.activation import activation

EPS = np.finfo(float).eps
BETA = 3.0

# Value and first derivative as functions of a complex number.
CLOSED: dict[str, tuple[Callable, Callable]] = {
    "tanh": (
        lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
        lambda z: 1.0 / np.cosh(z) ** 2,
    ),
    "sigmoid": (lambda z: 1.0 / (1.0 + np.exp(-z)), lambda z: 0.25 / np.cosh(z / 2) ** 2),
    "softplus": (
        lambda z: np.log(1.0 + np.exp(BETA * z)) / BETA,
        lambda z: 1.0 / (1.0 + np.exp(-BETA * z)),
    ),
}

names = pytest.mark.parametrize("name", CLOSED)


def _complex_step(f: Callable, z: np.ndarray) -> np.ndarray:
    """``f'(z)`` without cancellation, Squire and Trapp (1998), doi:10.1137/S003614459631241X."""
    return np.imag(f(z + 1e-30j)) * 1e30


@names
def test_value_and_derivatives(name: str) -> None:
    sigma = activation(name, BETA)
    z = np.linspace(-6.0, 6.0, 101).reshape(1, 101, 1)  # any shape will do
    s, d, dd = (np.empty_like(z) for _ in range(3))
    sigma.value(z, s)
    sigma.first(s, d)
    sigma.second(s, d, dd)
    value, slope = CLOSED[name]
    # Values are of the order of one (softplus: six), and so is the error in units of eps; the
    # derivatives lose a few bits more in 1 - s^2 and the like, the second one times beta.
    np.testing.assert_allclose(s, value(z), rtol=0.0, atol=16 * EPS)
    np.testing.assert_allclose(d, _complex_step(value, z), rtol=0.0, atol=16 * EPS)
    np.testing.assert_allclose(dd, _complex_step(slope, z), rtol=0.0, atol=32 * EPS)
    assert np.ptp(dd) > 0.1


@names
def test_value_in_place(name: str) -> None:
    sigma = activation(name, BETA)
    z = np.linspace(-2.0, 2.0, 9)
    s = np.empty_like(z)
    sigma.value(z, s)
    sigma.value(z, z)
    np.testing.assert_array_equal(z, s)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("tanh", -1.0, 1.0), ("sigmoid", 0.0, 1.0), ("softplus", 0.0, 800.0)]
)
def test_saturation(name: str, low: float, high: float) -> None:
    sigma = activation(name, BETA)
    z = np.array([-800.0, 800.0])
    s, d, dd = (np.empty_like(z) for _ in range(3))
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        sigma.value(z, s)
        sigma.first(s, d)
        sigma.second(s, d, dd)
    np.testing.assert_allclose(s, [low, high], rtol=EPS, atol=1e-300)
    np.testing.assert_array_equal(d, [0.0, 1.0 if name == "softplus" else 0.0])
    np.testing.assert_array_equal(np.abs(dd), 0.0)


@pytest.mark.parametrize("beta", [1.0, 10.0, 100.0])
def test_softplus_lies_at_most_log_2_over_beta_above_relu(beta: float) -> None:
    z = np.linspace(-2.0, 2.0, 201)
    s = np.empty_like(z)
    activation("softplus", beta).value(z, s)
    above = s - np.maximum(z, 0.0)
    assert np.all(above >= -2 * EPS)  # beta z / beta rounds
    assert above.argmax() == 100  # z = 0
    assert above.max() == pytest.approx(math.log(2.0) / beta, rel=1e-14)


def test_names() -> None:
    assert activation("softplus").name == "softplus"
    with pytest.raises(InputError, match=r"relu.*tanh"):
        activation("relu")
