"""Any action as a target: one column after the other, through the protocol."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action
from fem_deepest.errors import InputError
from fem_deepest.sample.matrices import check_alone, precision
from fem_deepest.sample.target import Gaussian, inner
from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]


class ActionTarget:
    """``Phi(u) = beta (A(u) - 1/2 <u - m, P (u - m)>)`` with the metric ``P`` of the action.

    Whatever ``m`` is, the chains sample ``exp(-beta A)``. It should be the minimiser of the quadratic
    part, so that no linear term that is too rough is left in ``Phi``: zero for a prior of mean zero, the
    straight line for a bridge.

    Args:
        action: Action on one rank.
        beta: Inverse temperature. The action of a network is a mean over ``K`` samples: ``beta = K`` makes
            ``exp(-beta A)`` the posterior of the weights, with the prior precision ``K P``.
        mean: ``m``; zero if None.
        mass: ``M``, for white noise (SPDE-MALA), if there is one.

    Attributes:
        prior: The Gaussian ``N(m, (beta P)^{-1})``.

    Raises:
        InputError: ``beta`` is not positive, the action is spread over ranks, or its metric is not
            positive definite or too big.
    """

    def __init__(
        self,
        action: Action,
        mean: PETSc.Vec | None = None,
        mass: sparse.csr_matrix | None = None,
        beta: float = 1.0,
    ) -> None:
        if not beta > 0.0:
            raise InputError(f"the inverse temperature is {beta}, expected a positive number")
        self._u, self._g = action.create(), action.create()
        check_alone(self._u.comm)
        self.action, self.beta = action, beta
        self.prior = Gaussian(
            np.zeros((self._u.getSize(), 1)) if mean is None else mean.array_r[:, None].copy(),
            Cholesky(beta * precision(action.metric, self._u), "the metric of the action"),
            None if mass is None else Cholesky(mass, "the mass matrix"),
        )

    def potential(self, v: Array) -> Array:
        """See :class:`.Target`."""
        value = np.empty(v.shape[1])
        for s in range(v.shape[1]):
            self._load(v, s)
            value[s] = self.action.value(self._u)
        return self.beta * value - 0.5 * inner(v, self.prior.precision.apply(v))

    def gradient(self, v: Array) -> tuple[Array, Array]:
        """See :class:`.Target`."""
        value, slope = np.empty(v.shape[1]), np.empty_like(v)
        for s in range(v.shape[1]):
            self._load(v, s)
            value[s] = self.action.gradient(self._u, self._g)
            slope[:, s] = self._g.array_r
        image = self.prior.precision.apply(v)
        return self.beta * value - 0.5 * inner(v, image), self.beta * slope - image

    def _load(self, v: Array, s: int) -> None:
        self._u.array[...] = self.prior.mean[:, 0] + v[:, s]
