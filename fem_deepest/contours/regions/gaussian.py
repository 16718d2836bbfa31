"""Two regions with grey values of normal distributions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.regions.region import moments

Array = NDArray[np.float64]

FLOOR = (1.0 / 255.0) ** 2 / 12.0
"""Least variance: that of rounding to 256 levels."""


class Gaussian:
    """``e = (I - mu)^2 / (2 v) + log(2 pi v) / 2``, mean and variance of each region.

    That is minus the log-likelihood of normal laws. Tells apart regions of one mean and two variances,
    which means alone cannot (S. C. Zhu, A. Yuille, Region competition, 1996; Juan, Keriven,
    Postelnicu 2006, doi:10.1007/s11263-006-6849-5).

    Args:
        grey: Grey values of the levels, (B,).
    """

    def __init__(self, grey: Array) -> None:
        self._grey = grey

    def densities(self, inside: Array, outside: Array) -> tuple[Array, Array]:
        """See :class:`Region`."""
        return normal(inside, self._grey), normal(outside, self._grey)


def normal(n: Array, grey: Array) -> Array:
    """Minus the log-likelihood of the normal law that fits best, (B, S). Not collective.

    Args:
        n: Areas of the levels, (B, S).
        grey: (B,).
    """
    mean, variance = moments(n, grey)
    variance = np.maximum(variance, FLOOR)
    return (grey[:, None] - mean) ** 2 / (2.0 * variance) + 0.5 * np.log(2.0 * math.pi * variance)
