"""Cholesky factors of stacks of small matrices that may be singular, as cell matrices are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_NULL = 1e-14  # a pivot smaller than this times its diagonal entry and the size is none


def factors(matrices: Array) -> Array:
    """Lower triangular ``L`` with ``L L^T = A`` for each of many positive semi-definite matrices.

    A pivot that is zero to rounding has a column of zeros: where ``A`` has no negative eigenvalue,
    nothing is left in that column either.

    Args:
        matrices: ``A``, (n, m, m), symmetric.

    Raises:
        InputError: A matrix has a negative eigenvalue.

    Not collective.
    """
    rest, size = np.array(matrices, dtype=np.float64), matrices.shape[-1]
    null = _NULL * size * np.einsum("nii->ni", matrices)
    scale = np.einsum("nii->n", matrices)
    L = np.zeros_like(rest)
    for i in range(size):
        pivot = rest[:, i, i]
        some = pivot > np.abs(null[:, i])
        root = np.sqrt(np.where(some, pivot, 1.0))
        column = np.where(some[:, None], rest[:, i:, i] / root[:, None], 0.0)
        L[:, i:, i] = column
        rest[:, i:, i:] -= column[:, :, None] * column[:, None, :]
    lost = np.abs(rest).max(axis=(1, 2), initial=0.0)
    if (lost > 1e3 * _NULL * size * np.abs(scale)).any():
        raise InputError(
            "the matrix of a metric on a cell has a negative eigenvalue, expected a density that is "
            "nowhere negative; give the metric as a sum of squares"
        )
    return L
