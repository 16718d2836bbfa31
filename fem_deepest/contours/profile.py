r"""The phase field across a contour, in closed form.

A contour is the zero level of a phase field ``u``, near 1 inside and near -1 outside, with the profile

    u = tanh( z / (sqrt(2) eps) ),      z the signed distance, positive inside,

that balances the two parts of the energy of Modica and Mortola. Along it

    W(u) = (1 - u^2)^2 / 4,     gamma = int_-1^1 sqrt(2 W) du = 2 sqrt(2) / 3,
    G(u) = |grad u| = (1 - u^2) / (sqrt(2) eps),
    h(u) = 1/2 + 3/4 (u - u^3/3),     h' = 3/4 (1 - u^2),     h(-1) = 0,  h(1) = 1.

``G`` moves the contour: ``du/dt = G(u) v`` is ``dz/dt = v``, whatever ``u`` is, since ``du/dz = G``.
``h`` is the indicator of the inside with ``gamma h' / eps = G``: an energy ``int h(u) f`` moves the
contour with the velocity ``-f`` and leaves the pure phases alone.

All functions act elementwise. Nothing here is collective.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TENSION = 2.0 * math.sqrt(2.0) / 3.0
"""``gamma``."""

_NEARLY_ONE = 1.0 - 2.0**-52


def profile(z: ArrayLike, eps: float) -> Array:
    """``u`` at the signed distance ``z``."""
    return np.tanh(np.asarray(z) / (math.sqrt(2.0) * eps))


def well(u: Array) -> Array:
    """``W``."""
    return 0.25 * (1.0 - u * u) ** 2


def well_slope(u: Array) -> Array:
    """``W' = u^3 - u``."""
    return u * (u * u - 1.0)


def indicator(u: Array) -> Array:
    """``h``."""
    return 0.5 + u * (0.75 - 0.25 * u * u)


def indicator_slope(u: Array) -> Array:
    """``h'``."""
    return 0.75 * (1.0 - u * u)


def shift(u: Array, s: Array, eps: float) -> Array:
    """The flow of ``du = G(u) dS`` as ``S`` goes from 0 to ``s``: the contour moves by ``s`` outwards.

    It adds ``s`` to ``z``, which is ``(u + t) / (1 + u t)`` with ``t = tanh(s / (sqrt(2) eps))``.
    """
    # Below one, so that the pure phases stay what they are however far the contour goes.
    t = np.clip(np.tanh(s / (math.sqrt(2.0) * eps)), -_NEARLY_ONE, _NEARLY_ONE)
    return (u + t) / (1.0 + u * t)


def relax(u: Array, t: ArrayLike, eps: float) -> Array:
    """The flow of ``du/dt = (u - u^3) / eps^2`` over the time ``t``, which may be negative."""
    square = u * u
    return u / np.sqrt(square + (1.0 - square) * np.exp(-2.0 * np.asarray(t) / eps**2))
