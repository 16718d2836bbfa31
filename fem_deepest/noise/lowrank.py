"""Covariances of few modes: ``C = B B^T`` with a factor of ``J`` columns.

With the small matrix ``R = B^T M B = Y D Y^T`` the columns of ``E = B Y D^{-1/2}`` are orthonormal in L2
and ``C = E D E^T``: they are the eigenfunctions of ``Q = C M``, its eigenvalues are in ``D``, and

    S = E D^{1/2} E^T

is the one square root that is symmetric and positive in L2. It does not depend on the factor: neither
on the order of its columns nor on their signs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance

Array = NDArray[np.float64]

_ROUNDING = 1e-14  # of the greatest eigenvalue: smaller ones are none


class LowRank(Covariance):
    """``C = B B^T``.

    Args:
        V: Function space.
        factor: ``B``, rows of this rank, (owned, J).
        beta: Regularity number of the covariance of which these are the first modes; infinite for
            finitely many smooth modes.

    Attributes:
        eigenvalues: Eigenvalues of ``Q``, decreasing, (m,), ``m <= J``.
        eigenfunctions: ``E``, (owned, m).

    Raises:
        InputError: The factor is zero or not finite.

    Collective: see :class:`Covariance`.
    """

    def __init__(self, V: fem.FunctionSpace, factor: Array, beta: float) -> None:
        super().__init__(V)
        self._beta = beta
        gram = self._sum(factor.T @ self.mass(factor))
        if not (np.isfinite(gram).all() and np.trace(gram) > 0.0):
            raise InputError(
                "the covariance is zero or not finite, expected one positive mode at least"
            )
        values, rotation = np.linalg.eigh(gram)
        kept = np.flatnonzero(values > _ROUNDING * values[-1])[::-1]
        self.eigenvalues = values[kept]
        self._rotation = rotation[:, kept]
        self.eigenfunctions = factor @ (self._rotation / np.sqrt(self.eigenvalues))
        self._root = np.sqrt(self.eigenvalues)[:, None]

    def apply(self, r: Array) -> Array:
        """``E D E^T r``; see :class:`Covariance`."""
        return self.eigenfunctions @ (self.eigenvalues[:, None] * self._moments(r))

    def apply_sqrt(self, b: Array) -> Array:
        """``E D^{1/2} E^T b``; see :class:`Covariance`."""
        return self.eigenfunctions @ (self._root * self._moments(b))

    def trace(self) -> float:
        """Sum of the eigenvalues."""
        return float(self.eigenvalues.sum())

    def variance(self) -> Array:
        """See :class:`Covariance`; cheap."""
        return np.asarray(self.eigenfunctions**2 @ self.eigenvalues)

    def beta(self, d: int | None = None) -> float:
        """The number given. Not collective."""
        return self._beta

    def from_coefficients(self, coefficients: Array) -> Array:
        """Load ``b`` with ``S b = B c``.

        Args:
            coefficients: ``c``, one row for each column of the factor, the same on all ranks, (J, S).
        """
        return self.mass(self.eigenfunctions @ (self._rotation.T @ coefficients))

    def _moments(self, b: Array) -> Array:
        return self._sum(self.eigenfunctions.T @ b)

    def _sum(self, local: Any) -> Array:
        if self.V.mesh.comm.size > 1:
            local = np.ascontiguousarray(local)
            self.V.mesh.comm.Allreduce(MPI.IN_PLACE, local, op=MPI.SUM)
        return local
