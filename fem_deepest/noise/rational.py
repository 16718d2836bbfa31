"""Negative fractional powers as sums of simple fractions with positive weights and real poles.

    x^{-s} = sum_i w_i / (x + t_i)  up to a relative error,   0 < s < 1,   low <= x <= high.

So a fractional power of an elliptic operator is a sum of solves with symmetric positive definite
matrices. For ``s = 1/2`` the fractions are Zolotarev's, which are the best there are (Hale, Higham,
Trefethen 2008, doi:10.1137/070700607, method 3). Otherwise the integral

    x^{-s} = sin(pi s)/pi  int_0^inf t^{-s} / (t + x) dt

is cut at ``low`` and ``high``: Gauss-Jacobi rules on the two ends take the singularities exactly, and a
Gauss-Legendre rule in ``log t`` the middle. It needs about twice as many fractions.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ellipj, ellipkm1, roots_jacobi

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_MOST = 100  # counts that are tried
_LEAST = 1e-13  # tolerance: rounding stops the error below
_SAMPLES = 4000  # points at which the error is measured
_SAMPLES_QUICK = 400


class Fractions(NamedTuple):
    """``sum_i w_i / (x + t_i)``.

    Attributes:
        shifts: ``t``, positive, (m,).
        weights: ``w``, positive, (m,).
        error: Greatest relative error, measured on a fine grid of the interval.
    """

    shifts: Array
    weights: Array
    error: float

    def __call__(self, x: Array) -> Array:
        """Values at points (n,)."""
        return np.asarray((self.weights / (x[:, None] + self.shifts)).sum(axis=1))


def inverse_power(s: float, low: float, high: float, tolerance: float) -> Fractions:
    """The fewest of these fractions that approximate ``x^{-s}``.

    Args:
        s: Exponent, ``0 < s < 1``.
        low: Left end of the interval, positive.
        high: Right end of the interval.
        tolerance: Greatest relative error wanted.

    Raises:
        InputError: The exponent, the interval or the tolerance is not possible.

    Not collective.
    """
    if not (0.0 < s < 1.0 and 0.0 < low < high < math.inf):
        raise InputError(
            f"the fractional power x^-{s:g} on [{low:g}, {high:g}] was asked for, expected an exponent "
            "between 0 and 1 and 0 < low < high; split off integer powers"
        )
    if not tolerance >= _LEAST:
        raise InputError(
            f"a relative error of {tolerance:g} was asked of a fractional power, expected at least "
            f"{_LEAST:g}: rounding allows no less"
        )
    for count in range(2, _MOST):
        if s == 0.5:
            shifts, weights = _zolotarev(count, low, high)
        else:
            shifts, weights = _quadrature(count, s, low, high)
        found = Fractions(shifts, weights, 0.0)
        if _error(found, s, low, high, _SAMPLES_QUICK) <= tolerance:
            error = _error(found, s, low, high, _SAMPLES)
            if error <= tolerance:
                return found._replace(error=error)
    raise InputError(
        f"no {_MOST} fractions come within {tolerance:g} of x^-{s:g} on [{low:g}, {high:g}]; ask for a "
        "larger relative error"
    )


def _error(fractions: Fractions, s: float, low: float, high: float, points: int) -> float:
    x = np.exp(np.linspace(math.log(low), math.log(high), points))
    return float(np.abs(fractions(x) * x**s - 1.0).max())


def _zolotarev(count: int, low: float, high: float) -> tuple[Array, Array]:
    """Trapezoidal rule in the elliptic variable: poles ``low sc^2``, modulus ``k' = (low/high)^{1/2}``."""
    k2 = low / high
    quarter = float(ellipkm1(k2))
    u = (np.arange(count) + 0.5) * quarter / count
    # Near the quarter period cn loses its digits; the mirror image u -> K - u has them.
    lower = u <= 0.5 * quarter
    sn, cn, dn, _ = ellipj(np.where(lower, u, quarter - u), 1.0 - k2)
    shifts = low * np.where(lower, (sn / cn) ** 2, (cn / sn) ** 2 / k2)
    slope = np.where(lower, dn / cn**2, dn / (math.sqrt(k2) * sn**2))
    return shifts, 2.0 * quarter * math.sqrt(low) / (math.pi * count) * slope


def _quadrature(count: int, s: float, low: float, high: float) -> tuple[Array, Array]:
    """Gauss rules on (0, low), (low, high), (high, inf): ``count`` points on each of the ends."""
    span = math.log(high / low)
    # The middle converges like rho^{-2n} on a strip of half-width pi, the ends like 5.83^{-2n}.
    aspect = 2.0 * math.pi / span
    rho = aspect + math.hypot(aspect, 1.0)
    middle = math.ceil(count * math.log(3.0 + 2.0 * math.sqrt(2.0)) / math.log(rho))
    x, w = roots_jacobi(count, 0.0, -s)
    first = 0.5 * low * (1.0 + x), (0.5 * low) ** (1.0 - s) * w
    x, w = np.polynomial.legendre.leggauss(middle)
    t = low * np.exp(0.5 * span * (1.0 + x))
    second = t, 0.5 * span * w * t ** (1.0 - s)
    x, w = roots_jacobi(count, 0.0, s - 1.0)
    inverse = 0.5 * (1.0 + x)  # high / t
    third = high / inverse, 0.5**s * high ** (1.0 - s) * w / inverse
    shifts, weights = (np.concatenate(part) for part in zip(first, second, third, strict=True))
    return shifts, math.sin(math.pi * s) / math.pi * weights
