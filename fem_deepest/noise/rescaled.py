"""A covariance with its standard deviation changed to a given one, point by point."""

from __future__ import annotations

import math

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance

Array = NDArray[np.float64]

_NONE = 1e-12  # of the greatest variance: nothing to rescale


class Rescaled(Covariance):
    """``D C D`` with the diagonal ``D`` that makes the standard deviation of every dof ``sigma``.

    Away from the boundary it leaves a Whittle-Matern field as it is; near it the variance, which depends
    on the boundary condition, is made constant. The variances are computed exactly, with one
    application of ``C`` to every unit vector: see :meth:`Covariance.variance`.

    Args:
        covariance: The covariance to change.
        sigma: Standard deviation, one for all or one for each owned dof.

    Attributes:
        factor: Diagonal of ``D``, (owned, 1).

    Raises:
        InputError: ``sigma`` is not positive, or the variance of a dof is zero.

    Collective: see :class:`Covariance`.
    """

    def __init__(self, covariance: Covariance, sigma: float | Array) -> None:
        super().__init__(covariance.V)
        self._covariance = covariance
        comm = self.V.mesh.comm
        if not comm.allreduce(
            bool(np.all(np.isfinite(sigma) & (np.asarray(sigma) > 0.0))), op=MPI.LAND
        ):
            raise InputError(f"the standard deviation {sigma} was given, expected positive numbers")
        variance = covariance.variance()
        greatest = max(comm.allgather(float(variance.max(initial=0.0))))
        if min(comm.allgather(float(variance.min(initial=math.inf)))) <= _NONE * greatest:
            raise InputError(
                "the variance is zero at some dofs and cannot be rescaled, as with the boundary condition "
                "dirichlet; take neumann or robin"
            )
        self.factor = (sigma / np.sqrt(variance)).reshape(-1, 1)

    def apply(self, r: Array) -> Array:
        """``D C D r``; see :class:`Covariance`."""
        return self.factor * self._covariance.apply(self.factor * r)

    def apply_sqrt(self, b: Array) -> Array:
        """``D S b``; see :class:`Covariance`."""
        return self.factor * self._covariance.apply_sqrt(b)

    @property
    def trace_class(self) -> bool:
        """That of ``C``. Not collective."""
        return self._covariance.trace_class

    def beta(self, d: int | None = None) -> float:
        """That of ``C``. Not collective."""
        return self._covariance.beta(d)
