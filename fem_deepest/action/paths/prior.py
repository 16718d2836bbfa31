"""Prior of the weights of a path (the parameters of its dynamics), ``1/2 <w - w_0, P (w - w_0)>``.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.dynamics.defects import Defects
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeightPrior:
    """Gaussian prior: ``lambda/2 (w - w_0)^2`` of a constant weight, H1 in depth of a varying one.

    Varying weights are P1 with the values at the ends of the cells, ``P = lambda (kappa^2 M_t + K_t)``.

    Attributes:
        strength: ``lambda``, a number or (P,); 0 is no prior.
        mean: ``w_0``, a number or (P,).
        kappa: Inverse correlation length in depth of varying weights.

    Raises:
        InputError: A number is negative or not finite.
    """

    strength: ArrayLike
    mean: ArrayLike = 0.0
    kappa: float = 1.0

    def __post_init__(self) -> None:
        numbers = np.append(np.asarray(self.strength, dtype=np.float64).ravel(), self.kappa)
        if not (np.isfinite(numbers).all() and (numbers >= 0.0).all()):
            raise InputError(
                f"a prior of the weights got lambda = {self.strength!r} and kappa = {self.kappa}, "
                "expected finite numbers that are not negative"
            )

    def on(self, defects: Defects, share: float | None = None) -> PriorByCell:
        """The prior on the cells of a path.

        Args:
            defects: Give cells and weights, and whether they vary.
            share: Part of the prior of constant weights that a cell has; default: one over the
                number of cells. For some cells of a path it is one over the number of all of them.

        Raises:
            InputError: Strength or mean do not have one entry for each weight.
        """
        return PriorByCell(self, defects, 1.0 / defects.cells if share is None else share)


class PriorByCell:
    """A prior as a sum over cells, of which each sees ``E = 2`` values of a varying weight, or one.

    Attributes:
        strength: ``lambda``, (P,).
        mean: ``w_0``, (P,).
        kappa: Inverse correlation length.
    """

    def __init__(self, prior: WeightPrior, defects: Defects, share: float) -> None:
        shape = (len(defects.dynamics.parameters),)
        try:
            self.strength = np.broadcast_to(np.asarray(prior.strength, dtype=np.float64), shape)
            self.mean = np.broadcast_to(np.asarray(prior.mean, dtype=np.float64), shape)
        except ValueError:
            raise InputError(
                f"the prior's strength and mean have shapes {np.shape(prior.strength)} and "
                f"{np.shape(prior.mean)}, expected numbers or {shape}: one for each parameter"
            ) from None
        self.kappa, self._varying, self._cells = prior.kappa, defects.varying, defects.cells
        # kappa^2 M_t + K_t by cell, (n, E, E); of a constant weight its share of 1.
        self._matrix = np.full((defects.cells, 1, 1), share)
        if defects.varying:
            h = defects.steps[:, None, None]
            mass = np.array([[2.0, 1.0], [1.0, 2.0]]) / 6.0
            self._matrix = prior.kappa**2 * h * mass + np.array([[1.0, -1.0], [-1.0, 1.0]]) / h

    def gather(self, w: Array) -> Array:
        """Weights that a cell sees, (..., n, E P)."""
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
        return seen.reshape(shape) - self.mean

    def _riesz(self, e: Array) -> Array:
        return (self._matrix @ e) * self.strength
