"""The fixed-point iteration of an implicit stage, and when a change of its iterates is rounding."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROUNDING = 4.0 * float(np.finfo(np.float64).eps)
_SWEEPS = 40
_SLOW = 0.6  # contraction per turn above which a direct solve is cheaper


def contract(step: Callable[[Array, Array], None], y: Array) -> bool:
    """Fixed-point iteration ``y <- step(y)`` in place.

    Args:
        step: ``step(y, out)`` writes the next iterate into ``out``.
        y: Start, overwritten by the last iterate.

    Returns:
        Whether the change came down to rounding, that of each of the networks side by side; ``False`` as
        soon as it contracts too slowly.
    """
    last, new = np.inf, np.empty_like(y)
    size = scale(y)
    for turn in range(_SWEEPS):
        step(y, new)
        np.subtract(new, y, out=y)
        change = relative(y, size)
        y[...] = new
        if not isfinite(change):
            return False
        if small(change, last):
            return True
        if turn > 2 and change > _SLOW * last:
            return False
        last = change
    return False


def _largest(y: Array) -> Array | float:
    """Largest absolute value of each network, (...): they may be of very different sizes."""
    if y.ndim == 2:  # faster without axes
        return max(float(y.max(initial=0.0)), -float(y.min(initial=0.0)))
    return np.maximum(y.max(axis=(-2, -1), initial=0.0), -y.min(axis=(-2, -1), initial=0.0))


def scale(y: Array) -> Array | float:
    """What a change of a network is compared with, (...)."""
    largest = _largest(y)
    return max(1.0, largest) if isinstance(largest, float) else np.maximum(1.0, largest)


def relative(y: Array, size: Array | float) -> float:
    """The largest value of ``y`` in units of the size of its network."""
    largest = _largest(y)
    if isinstance(largest, float):
        return largest / size  # type: ignore[return-value]
    return float(np.divide(largest, size).max(initial=0.0))


def small(change: float, last: float) -> bool:
    """Whether it is rounding; near that the change stops falling before it reaches the last bit."""
    return change <= ROUNDING or (change <= 100 * ROUNDING and change >= last)
