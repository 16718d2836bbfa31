r"""Mean-square stability of one-step schemes on ``dX = -lambda X dtau + sigma X dbeta`` (Ito).

One step of length ``k`` multiplies ``E |X|^2`` by a factor ``R(z, s)`` of ``z = k lambda`` and
``s = k sigma^2``, so ``E |X^n|^2 = R^n |X^0|^2`` exactly; the scheme is stable where ``R < 1``. In
``y = sigma^2 / lambda`` the regions are

    exact                                  y < 2
    forward Euler-Maruyama                 y < 2 - z
    backward Euler-Maruyama                y < 2 + z
    Crank-Nicolson-Euler-Maruyama          y < 2                 at every step
    backward Milstein                      y + z y^2 / 2 < 2 + z
    exponential Euler, e^{-z} (X + dW)     y < (e^{2z} - 1) / z

Y. Saito, T. Mitsui, Stability analysis of numerical schemes for stochastic differential equations,
1996, doi:10.1137/S0036142992228409; D. J. Higham, Mean-square and asymptotic stability of the
stochastic theta method, 2000, doi:10.1137/S003614299834736X. Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_Function = Callable[[float, float], float]


@dataclass(frozen=True)
class MeanSquare:
    """Mean-square behaviour of one scheme.

    Attributes:
        name: The scheme, for readers.
        factor: ``R(z, s)``: what one step does to ``E |X|^2``.
        region: ``y(z)``: the scheme is stable for ``sigma^2 / lambda`` below it.
    """

    name: str
    factor: _Function
    region: Callable[[float], float]

    def second_moment(self, lam: float, sigma: float, k: float, steps: int) -> float:
        """``E |X^n|^2`` for ``X^0 = 1``."""
        return float(self.factor(k * lam, k * sigma**2) ** steps)

    def boundary(self, z: float) -> float:
        """Largest stable ``sigma^2 / lambda`` at ``z = k lambda``: the root of ``R = 1``; 0 if none.

        Raises:
            InputError: ``z`` is not positive.
        """
        if not z > 0.0:
            raise InputError(f"k lambda = {z}; expected a positive number")
        if self.factor(z, 0.0) >= 1.0:
            return 0.0
        high = 1.0
        while self.factor(z, high * z) < 1.0:
            high *= 2.0
        return float(
            brentq(lambda y: self.factor(z, y * z) - 1.0, 0.0, high, xtol=1e-14, rtol=1e-14)
        )


def _theta(theta: float, milstein: bool = False) -> _Function:
    """Drift by the theta method; the noise explicit, by Euler-Maruyama or Milstein."""

    def factor(z: float, s: float) -> float:
        noise = s + 0.5 * s**2 if milstein else s
        return ((1.0 - (1.0 - theta) * z) ** 2 + noise) / (1.0 + theta * z) ** 2

    return factor


SCHEMES: dict[str, MeanSquare] = {
    "exact": MeanSquare("exact", lambda z, s: float(np.exp(s - 2.0 * z)), lambda z: 2.0),
    "forward_euler": MeanSquare("forward Euler-Maruyama", _theta(0.0), lambda z: max(2.0 - z, 0.0)),
    "backward_euler": MeanSquare("backward Euler-Maruyama", _theta(1.0), lambda z: 2.0 + z),
    "crank_nicolson": MeanSquare("Crank-Nicolson-Euler-Maruyama", _theta(0.5), lambda z: 2.0),
    "milstein": MeanSquare(
        "backward Milstein",
        _theta(1.0, milstein=True),
        lambda z: float(np.sqrt(1.0 + 2.0 * z * (2.0 + z)) - 1.0) / z,
    ),
    "exponential_euler": MeanSquare(
        "exponential Euler",
        lambda z, s: float(np.exp(-2.0 * z)) * (1.0 + s),
        lambda z: float(np.expm1(2.0 * z)) / z,
    ),
}
