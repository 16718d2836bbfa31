"""Square roots of symmetric positive definite tridiagonal matrices, ``A = L D L^T``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

Array = NDArray[np.float64]


def inverse_root(factor: tuple[Array, Array], z: Array) -> Array:
    """``L^{-T} D^{-1/2} z``, of covariance ``A^{-1}`` if ``z`` are independent standard normals.

    Args:
        factor: ``D`` (n,) and the subdiagonal (n - 1,) of ``L``, as LAPACK's ``dpttrf`` gives them.
        z: (n, m).

    Not collective.
    """
    diagonal, below = factor
    band = np.ones((2, diagonal.size))
    band[1, :-1] = below
    x, _ = lapack.dtbtrs(band, z / np.sqrt(diagonal)[:, None], uplo="L", trans="T", diag="U")
    return np.asarray(x)
