"""White noise as a covariance: ``Q = 1``, ``C = M^{-1}``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.noise.covariance import Covariance

Array = NDArray[np.float64]


class WhiteCovariance(Covariance):
    """``C = S = M^{-1}``: the L2 projection of white noise onto the space.

    Args:
        V: Function space.

    Collective: see :class:`Covariance`.
    """

    def apply(self, r: Array) -> Array:
        """``M^{-1} r``."""
        return self.inverse_mass.solve(r)

    def apply_sqrt(self, b: Array) -> Array:
        """``M^{-1} b``."""
        return self.inverse_mass.solve(b)

    def load(self, b: Array) -> Array:
        """``b`` itself."""
        return b

    def trace(self) -> float:
        """Dimension of the space; it grows without bound when the mesh is refined."""
        return float(self.blocks.size)

    def beta(self, d: int | None = None) -> float:
        """``1 - d/2``; see :class:`Covariance`. Not collective."""
        return 1.0 - 0.5 * self.dimension(d)
