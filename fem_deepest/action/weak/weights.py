"""Gaussian prior ``1/2 <w - w_0, P (w - w_0)>`` of the weights of one path.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WeightPrior:
    """Prior of the weights, constant or P1 in depth.

    Constant weights have the precision ``P = lambda I``; weights that vary in depth the H1 precision
    ``lambda (kappa^2 M_t + K_t)``, which is a sum over the cells.

    Attributes:
        strength: ``lambda > 0``.
        mean: ``w_0``, a number or (P,).
        kappa: Inverse correlation length in depth, ``> 0``; for varying weights.
    """

    strength: float
    mean: ArrayLike = 0.0
    kappa: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.strength) and self.strength > 0.0 and self.kappa > 0.0):
            raise InputError(
                f"a prior of the weights got lambda = {self.strength} and kappa = {self.kappa}, "
                "expected positive numbers; leave the prior away instead of lambda = 0"
            )

    def cells(self, steps: Array, parameters: int) -> Array:
        """Precision of varying weights by cell, (n, 2 P, 2 P)."""
        h = steps[:, None, None]
        mass = h / 6.0 * np.array([[2.0, 1.0], [1.0, 2.0]])
        stiffness = np.array([[1.0, -1.0], [-1.0, 1.0]]) / h
        pair = self.strength * (self.kappa**2 * mass + stiffness)
        n = steps.size
        full = np.einsum("nab,ij->naibj", pair, np.eye(parameters))
        return full.reshape(n, 2 * parameters, 2 * parameters)
