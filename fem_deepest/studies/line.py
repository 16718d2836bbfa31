"""Straight lines through values of known uncertainty.

Nothing here is collective.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Line(NamedTuple):
    """``y = intercept + slope x``, with standard errors."""

    slope: float
    slope_error: float
    intercept: float
    intercept_error: float


def line(x: Array, y: Array, deviation: Array) -> Line:
    """Weighted least squares.

    Args:
        x: (m,), two different ones or more.
        y: (m,), independent.
        deviation: Standard errors of ``y``, (m,).
    """
    w = deviation**-2.0
    total = w.sum()
    centre, level = w @ x / total, w @ y / total
    spread = w @ (x - centre) ** 2
    slope = w @ ((x - centre) * (y - level)) / spread
    return Line(
        float(slope),
        float(spread**-0.5),
        float(level - slope * centre),
        float(np.sqrt(1.0 / total + centre**2 / spread)),
    )


def exact(found: Line) -> Line:
    """The line of values that have no uncertainty, whatever they were weighted by."""
    return found._replace(slope_error=0.0, intercept_error=0.0)
