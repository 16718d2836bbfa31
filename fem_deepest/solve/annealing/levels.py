"""Action levels: the different minima that many paths end at, with how many end at each.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """One level at one precision.

    Attributes:
        beta: Rung of the ladder.
        R_f: Precision of the model.
        level: Number within the rung, 0 the lowest.
        action: Lowest action of the paths on it.
        measurement: Measurement term of that path.
        model: Model term of that path.
        count: Paths on the level.
        fraction: ``count`` over all paths.
        path: Number of the path with the lowest action.
    """

    beta: int
    R_f: float
    level: int
    action: float
    measurement: float
    model: float
    count: int
    fraction: float
    path: int


def cluster(action: Array, tolerance: float = 1e-4, floor: float = 0.0) -> NDArray[np.int64]:
    """Level of each path, (B,), 0 the lowest.

    Sorted actions are cut where two neighbours differ by more than ``tolerance`` times the larger
    one and than ``floor``; an action that is not finite is on no level, -1.

    Raises:
        InputError: The tolerance is not positive.
    """
    if not tolerance > 0.0:
        raise InputError(f"the tolerance of the levels must be positive, got {tolerance}")
    out = np.full(action.shape, -1)
    finite = np.flatnonzero(np.isfinite(action))
    order = finite[np.argsort(action[finite], kind="stable")]
    sorted_ = action[order]
    largest = max(floor, float(np.finfo(float).tiny))
    cut = np.diff(sorted_) > np.maximum(tolerance * np.abs(sorted_[1:]), largest)
    out[order] = np.concatenate([np.zeros(min(1, order.size), np.int64), np.cumsum(cut)])
    return out


def levels(
    R_f: Array,
    action: Array,
    measurement: Array,
    model: Array,
    tolerance: float = 1e-4,
    floor: float = 0.0,
) -> list[Level]:
    """Levels of every rung, lowest first.

    Args:
        R_f: Precisions, (n,).
        action: (B, n) actions of ``B`` paths.
        measurement: (B, n) measurement terms.
        model: (B, n) model terms.
        tolerance: See :func:`cluster`.
        floor: See :func:`cluster`.
    """
    found, many = [], action.shape[0]
    for beta, precision in enumerate(R_f):
        numbers = cluster(action[:, beta], tolerance, floor)
        for level in range(numbers.max(initial=-1) + 1):
            members = np.flatnonzero(numbers == level)
            best = members[np.argmin(action[members, beta])]
            found.append(
                Level(
                    beta,
                    float(precision),
                    level,
                    float(action[best, beta]),
                    float(measurement[best, beta]),
                    float(model[best, beta]),
                    members.size,
                    members.size / many,
                    int(best),
                )
            )
    return found
