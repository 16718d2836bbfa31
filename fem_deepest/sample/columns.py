"""Any action as a target: one column after the other, through the protocol."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action
from fem_deepest.sample.cholesky import Cholesky
from fem_deepest.sample.matrices import check_alone, precision
from fem_deepest.sample.target import Gaussian, inner

Array = NDArray[np.float64]


class ActionTarget:
    """``Phi(u) = A(u) - 1/2 <u - m, P (u - m)>`` with the metric ``P`` of the action.

    Whatever ``m`` is, the chains sample ``exp(-A)``. It should be the minimiser of the quadratic part, so
    that no linear term that is too rough is left in ``Phi``: zero for a prior of mean zero, the straight
    line for a bridge.

    Args:
        action: Action on one rank.
        mean: ``m``; zero if None.
        mass: ``M``, for white noise (SPDE-MALA), if there is one.

    Attributes:
        prior: The Gaussian ``N(m, P^{-1})``.

    Raises:
        InputError: The action is spread over ranks, or its metric is not positive definite or too big.
    """

    def __init__(
        self, action: Action, mean: PETSc.Vec | None = None, mass: sparse.csr_matrix | None = None
    ) -> None:
        self._u, self._g = action.create(), action.create()
        check_alone(self._u.comm)
        self.action = action
        self.prior = Gaussian(
            np.zeros((self._u.getSize(), 1)) if mean is None else mean.array_r[:, None].copy(),
            Cholesky(precision(action.metric, self._u), "the metric of the action"),
            None if mass is None else Cholesky(mass, "the mass matrix"),
        )

    def potential(self, v: Array) -> Array:
        """See :class:`.Target`."""
        value = np.empty(v.shape[1])
        for s in range(v.shape[1]):
            self._load(v, s)
            value[s] = self.action.value(self._u)
        return value - 0.5 * inner(v, self.prior.precision.apply(v))

    def gradient(self, v: Array) -> tuple[Array, Array]:
        """See :class:`.Target`."""
        value, slope = np.empty(v.shape[1]), np.empty_like(v)
        for s in range(v.shape[1]):
            self._load(v, s)
            value[s] = self.action.gradient(self._u, self._g)
            slope[:, s] = self._g.array_r
        image = self.prior.precision.apply(v)
        return value - 0.5 * inner(v, image), slope - image

    def _load(self, v: Array, s: int) -> None:
        self._u.array[...] = self.prior.mean[:, 0] + v[:, s]
