"""Volume elements of maps from reference cells.

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def volume_elements(J: Array) -> Array:
    """``sqrt(det J^T J)``, (...).

    Args:
        J: Jacobians, (..., geometric dimension, dimension of the cells), up to 3.
    """
    if J.shape[-1] < J.shape[-2]:
        return np.sqrt(np.abs(_determinant(np.swapaxes(J, -1, -2) @ J)))
    return np.abs(_determinant(J))


def _determinant(J: Array) -> Array:
    a = np.moveaxis(J, (-2, -1), (0, 1))
    if len(a) == 1:
        return a[0, 0]
    if len(a) == 2:
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    minors = [a[1, i] * a[2, j] - a[1, j] * a[2, i] for i, j in ((1, 2), (2, 0), (0, 1))]
    return a[0, 0] * minors[0] + a[0, 1] * minors[1] + a[0, 2] * minors[2]
