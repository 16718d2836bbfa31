"""Symmetric positive definite tridiagonal matrices, ``A = L D L^T``, on blocks (n, m).

Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Tridiagonal:
    """``A`` with its factor; with independent standard normals ``z`` it gives Gaussians.

    Args:
        diagonal: (n,).
        off: Off-diagonal, (n - 1,).

    Raises:
        InputError: ``A`` is not positive definite.
    """

    def __init__(self, diagonal: Array, off: Array) -> None:
        self.diagonal, self.off = diagonal, off
        # SciPy wants an entry beside the diagonal even where there is none.
        pivots, below, failed = lapack.dpttrf(diagonal, off if off.size else np.zeros(1))
        if failed:
            raise InputError(
                f"a tridiagonal matrix is not positive definite (pivot {failed} of {diagonal.size}); take "
                "positive coefficients"
            )
        self._factor: tuple[Array, Array] = pivots, below

    def apply(self, x: Array) -> Array:
        """``A x``."""
        out = self.diagonal[:, None] * x
        out[:-1] += self.off[:, None] * x[1:]
        out[1:] += self.off[:, None] * x[:-1]
        return out

    def solve(self, b: Array) -> Array:
        """``A^{-1} b``."""
        return np.asarray(lapack.dpttrs(*self._factor, b)[0])

    def root(self, z: Array) -> Array:
        """``L D^{1/2} z``, of covariance ``A``."""
        diagonal, below = self._factor
        y = np.sqrt(diagonal)[:, None] * z
        out = y.copy()
        out[1:] += below[: len(y) - 1, None] * y[:-1]
        return out

    def inverse_root(self, z: Array) -> Array:
        """``L^{-T} D^{-1/2} z``, of covariance ``A^{-1}``."""
        return inverse_root(self._factor, z)


def inverse_root(factor: tuple[Array, Array], z: Array) -> Array:
    """``L^{-T} D^{-1/2} z``, of covariance ``A^{-1}`` if ``z`` are independent standard normals.

    Args:
        factor: ``D`` (n,) and the subdiagonal (n - 1,) of ``L``, as LAPACK's ``dpttrf`` gives them.
        z: (n, m).
    """
    diagonal, below = factor
    band = np.ones((2, diagonal.size))
    band[1, :-1] = below[: diagonal.size - 1]
    x, _ = lapack.dtbtrs(band, z / np.sqrt(diagonal)[:, None], uplo="L", trans="T", diag="U")
    return np.asarray(x)
