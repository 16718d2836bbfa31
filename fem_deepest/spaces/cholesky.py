"""Banded Cholesky factor of a sparse matrix: solves, and square roots for drawing from Gaussians.

With ``A = L L^T`` and standard normals ``z``, ``L z ~ N(0, A)`` and ``L^{-T} z ~ N(0, A^{-1})``. The
unknowns are ordered by reverse Cuthill and McKee, so that the band of a path is as narrow as its cells.
Nothing here is collective: a chain lives on one rank.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse.csgraph import reverse_cuthill_mckee

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Cholesky:
    """``A = L L^T`` of a symmetric positive definite sparse matrix, on blocks (n, S).

    Args:
        matrix: ``A``.
        name: What it is, for the message.

    Attributes:
        matrix: ``A``, by rows.

    Raises:
        InputError: ``A`` is not positive definite.
    """

    def __init__(self, matrix: sparse.csr_matrix, name: str = "the matrix") -> None:
        self.matrix = sparse.csr_matrix(matrix)
        self._order = np.asarray(reverse_cuthill_mckee(self.matrix, symmetric_mode=True))
        self._back = np.argsort(self._order)
        lower = sparse.tril(self.matrix[self._order][:, self._order]).tocoo()
        below = lower.row - lower.col
        band = np.zeros((int(below.max(initial=0)) + 1, self.matrix.shape[0]))
        band[below, lower.col] = lower.data
        self._band, failed = lapack.dpbtrf(band, lower=1)
        if failed:
            raise InputError(
                f"{name} is not positive definite (pivot {failed} of {self.matrix.shape[0]}); give a "
                "symmetric one with positive eigenvalues, such as a stiffness with clamped ends or with "
                "a positive multiple of the mass"
            )

    def apply(self, x: Array) -> Array:
        """``A x``."""
        return np.asarray(self.matrix @ x)

    def solve(self, r: Array) -> Array:
        """``A^{-1} r``."""
        x, _ = lapack.dpbtrs(self._band, r[self._order], lower=1)
        return x[self._back]

    def root(self, z: Array) -> Array:
        """``L z``, of covariance ``A``."""
        y = np.zeros_like(z)
        n = len(z)
        for offset, diagonal in enumerate(self._band):
            y[offset:] += diagonal[: n - offset, None] * z[: n - offset]
        return y[self._back]

    def inverse_root(self, z: Array) -> Array:
        """``L^{-T} z``, of covariance ``A^{-1}``."""
        x, _ = lapack.dtbtrs(self._band, z, uplo="L", trans="T")
        return x[self._back]
