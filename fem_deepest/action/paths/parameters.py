"""Prior of the parameters of a dynamical system, ``1/2 <w - w_0, P (w - w_0)>``, cell by cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.dynamics.defects import Defects
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class ParameterPrior:
    """``lambda/2 (w - w_0)^2`` of a constant parameter, H1 in depth of a varying one.

    Varying parameters are P1 with the values at the ends of the cells, ``P = lambda (kappa^2 M_t +
    K_t)``. A cell sees ``E = 2`` of them for each parameter, or ``E = 1`` that is constant.

    Args:
        defects: Gives cells, parameters, and whether they vary.
        strength: ``lambda_p``, a number or (P,); 0 is no prior.
        reference: ``w_0``, a number or (P,).
        kappa: Inverse correlation length of varying parameters.

    Attributes:
        strength: ``lambda_p``, (P,).
        kappa: Inverse correlation length.

    Raises:
        InputError: A strength is negative, or shapes do not fit.

    Nothing here is collective.
    """

    def __init__(
        self, defects: Defects, strength: ArrayLike, reference: ArrayLike, kappa: float
    ) -> None:
        shape = (len(defects.dynamics.parameters),)
        try:
            self.strength = np.broadcast_to(np.asarray(strength, dtype=np.float64), shape)
            self._reference = np.broadcast_to(np.asarray(reference, dtype=np.float64), shape)
        except ValueError:
            raise InputError(
                f"prior and reference have shapes {np.shape(strength)} and {np.shape(reference)}, "
                f"expected numbers or {shape}: one for each parameter"
            ) from None
        if not (self.strength >= 0.0).all() or not kappa >= 0.0:
            raise InputError("the prior of the parameters must not be negative, and is")
        self.kappa, self._varying, self._cells = kappa, defects.varying, defects.cells
        # kappa^2 M_t + K_t by cell, (n, E, E); of a constant parameter its share of 1.
        self._matrix = np.full((defects.cells, 1, 1), 1.0 / defects.cells)
        if defects.varying:
            h = defects.steps[:, None, None]
            mass = np.array([[2.0, 1.0], [1.0, 2.0]]) / 6.0
            self._matrix = kappa**2 * h * mass + np.array([[1.0, -1.0], [-1.0, 1.0]]) / h

    def gather(self, w: Array) -> Array:
        """Parameters that a cell sees, (..., n, E P)."""
        if self._varying:
            return np.concatenate([w[..., :-1, :], w[..., 1:, :]], axis=-1)
        return np.broadcast_to(w[..., None, :], (*w.shape[:-1], self._cells, w.shape[-1]))

    def value(self, w: Array) -> Array:
        """``1/2 <w - w_0, P (w - w_0)>``, (...)."""
        e = self._error(w)
        return 0.5 * np.sum(e * self._riesz(e), axis=(-1, -2, -3))

    def gradient(self, w: Array) -> Array:
        """``P (w - w_0)`` by cell, (..., n, E P)."""
        riesz = self._riesz(self._error(w))
        return riesz.reshape(*riesz.shape[:-2], -1)

    def add(self, matrix: Array) -> None:
        """Add ``P`` to matrices by cell, (..., n, E P, E P), in place."""
        ends, count = self._matrix.shape[-1], self.strength.size
        p = np.arange(count)
        for e in range(ends):
            for f in range(ends):
                share = self._matrix[:, e, f, None] * self.strength
                matrix[..., e * count + p, f * count + p] += share

    def _error(self, w: Array) -> Array:
        """``w - w_0`` by cell, (..., n, E, P)."""
        seen = self.gather(w)
        shape = (*seen.shape[:-1], self._matrix.shape[-1], self.strength.size)
        return seen.reshape(shape) - self._reference

    def _riesz(self, e: Array) -> Array:
        return (self._matrix @ e) * self.strength
