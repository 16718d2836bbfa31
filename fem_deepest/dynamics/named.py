"""Dynamical systems by name, each with parameters and a start that are typical of it.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fem_deepest.dynamics.coupling import Coupling
from fem_deepest.dynamics.dynamics import Dynamics
from fem_deepest.dynamics.lorenz63 import Lorenz63
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.pendulum import Pendulum
from fem_deepest.errors import InputError
from fem_deepest.network.activation import activation

_ATTRACTOR = 20.0  # time after which a chaotic system is taken to be on its attractor


@dataclass(frozen=True)
class Named:
    """A system with values to try it with.

    Attributes:
        dynamics: The system.
        typical: Typical parameters, (P,), if there are any.
        start: Typical start, (D,), if there is one.
        spin_up: Time that a twin runs before its first observation, to reach an attractor.
    """

    dynamics: Dynamics
    typical: Sequence[float] | None = None
    start: ArrayLike | None = None
    spin_up: float = 0.0


def _lorenz96(states: int | None) -> Named:
    system = Lorenz96(states or 10)
    return Named(system, (8.17,), np.full(system.states, 8.17), _ATTRACTOR)


def _lorenz63(states: int | None) -> Named:
    return Named(Lorenz63(), (10.0, 28.0, 8.0 / 3.0), np.array([1.0, 1.0, 20.0]), _ATTRACTOR)


def _pendulum(states: int | None) -> Named:
    return Named(Pendulum(), (4.0, 0.3), np.array([2.0, 0.0]))


SYSTEMS: dict[str, Callable[[int | None], Named]] = {
    "lorenz96": _lorenz96,
    "lorenz63": _lorenz63,
    "pendulum": _pendulum,
}


def named(name: str, states: int | None = None) -> Named:
    """System of that name.

    Args:
        name: One of :data:`SYSTEMS`.
        states: ``D``, where it may be chosen.

    Raises:
        InputError: There is no such system, or it has another number of states.
    """
    if name not in SYSTEMS:
        raise InputError(f"unknown dynamical system '{name}', expected one of {tuple(SYSTEMS)}")
    found = SYSTEMS[name](states)
    if states is not None and states != found.dynamics.states:
        raise InputError(
            f"{name} has {found.dynamics.states} states, got {states}; leave out the number"
        )
    return found


def coupling(neurons: int | None, sigma: str, sharpness: float, leak: float) -> Named:
    """A layer of ``N`` neurons, ``x' = -a x + sigma(W x + b)``, with weights that preserve signals.

    The typical weights are antisymmetric: the linear flow is a rotation, which neither forgets nor
    overflows. They and the start belong to ``N``.

    Args:
        neurons: ``N``; default: 3.
        sigma: Name of the activation.
        sharpness: ``beta`` of softplus.
        leak: ``a``.

    Raises:
        InputError: What is wrong with the numbers.
    """
    n = 3 if neurons is None else neurons
    system = Coupling(n, activation(sigma, sharpness), leak)
    rng = np.random.default_rng(n)
    half = rng.standard_normal((n, n))
    weights = np.concatenate([(half - half.T) / np.sqrt(n), np.zeros((n, 1))], axis=1)
    return Named(system, tuple(map(float, weights.ravel())), rng.standard_normal(n))
