"""Activations ``sigma`` with first and second derivatives as functions of the value ``s = sigma(z)``.

One transcendental pass per layer and stage is enough: a sweep stores ``s``, and the adjoint sweeps
get ``sigma'(z)`` and ``sigma''(z)`` from it by products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Activation:
    """Elementwise function with its derivatives, all writing into ``out`` and taking any shape.

    Attributes:
        name: Name in a configuration.
        value: ``value(z, out)``: ``s = sigma(z)``; ``out`` may be ``z``.
        first: ``first(s, out)``: ``sigma'(z)`` from ``s``.
        second: ``second(s, d, out)``: ``sigma''(z)`` from ``s`` and ``d = sigma'(z)``.
    """

    name: str
    value: Callable[[Array, Array], None]
    first: Callable[[Array, Array], None]
    second: Callable[[Array, Array, Array], None]


def tanh() -> Activation:
    """``sigma = tanh``, ``sigma' = 1 - s^2``, ``sigma'' = -2 s sigma'``."""

    def value(z: Array, out: Array) -> None:
        np.tanh(z, out=out)

    def first(s: Array, out: Array) -> None:
        np.multiply(s, s, out=out)
        np.subtract(1.0, out, out=out)

    def second(s: Array, d: Array, out: Array) -> None:
        np.multiply(s, d, out=out)
        out *= -2.0

    return Activation("tanh", value, first, second)


def sigmoid() -> Activation:
    """``sigma = 1/(1 + exp(-z))``, ``sigma' = s (1 - s)``, ``sigma'' = sigma' (1 - 2 s)``."""

    def value(z: Array, out: Array) -> None:
        expit(z, out=out)

    def first(s: Array, out: Array) -> None:
        np.subtract(1.0, s, out=out)
        out *= s

    def second(s: Array, d: Array, out: Array) -> None:
        np.multiply(s, -2.0, out=out)
        out += 1.0
        out *= d

    return Activation("sigmoid", value, first, second)


def softplus(sharpness: float = 10.0) -> Activation:
    """Smoothed ReLU ``sigma = log(1 + exp(beta z))/beta``, at most ``log(2)/beta`` above ``max(0, z)``.

    ``sigma' = 1 - exp(-beta s)`` and ``sigma'' = beta sigma' (1 - sigma')``.

    Args:
        sharpness: ``beta``.
    """

    def value(z: Array, out: Array) -> None:
        np.multiply(z, sharpness, out=out)
        np.logaddexp(0.0, out, out=out)
        out /= sharpness

    def first(s: Array, out: Array) -> None:
        np.multiply(s, -sharpness, out=out)
        np.expm1(out, out=out)
        np.negative(out, out=out)

    def second(s: Array, d: Array, out: Array) -> None:
        np.subtract(1.0, d, out=out)
        out *= d
        out *= sharpness

    return Activation("softplus", value, first, second)


@dataclass(frozen=True)
class Slopes:
    """Bounds of an activation and its derivatives.

    Attributes:
        most: ``sup |sigma|``.
        zero: ``|sigma(0)|``.
        first: ``sup |sigma'|``.
        second: ``sup |sigma''|``.
    """

    most: float
    zero: float
    first: float
    second: float


def slopes(activation: Activation) -> Slopes:
    """The bounds of an activation."""
    if activation.name == "tanh":
        return Slopes(1.0, 0.0, 1.0, 4.0 / np.sqrt(27.0))
    if activation.name == "sigmoid":
        return Slopes(1.0, 0.5, 0.25, 1.0 / np.sqrt(108.0))
    # Softplus: sigma(0) = log(2)/beta tells its sharpness, and sigma'' is largest there, beta/4.
    zero = np.zeros(1)
    activation.value(zero, zero)
    return Slopes(np.inf, float(zero[0]), 1.0, float(np.log(2.0) / zero[0]) / 4.0)


ACTIVATIONS = ("tanh", "sigmoid", "softplus")


def activation(name: str, sharpness: float = 10.0) -> Activation:
    """Activation of that name; ``sharpness`` matters to softplus alone.

    Raises:
        InputError: No activation has that name.
    """
    if name == "softplus":
        return softplus(sharpness)
    try:
        return {"tanh": tanh, "sigmoid": sigmoid}[name]()
    except KeyError:
        raise InputError(f"unknown activation '{name}', expected one of {ACTIVATIONS}") from None
