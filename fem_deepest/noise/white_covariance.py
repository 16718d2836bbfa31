"""White noise as a covariance: ``Q = 1``, ``C = M^{-1}``."""

from __future__ import annotations

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from fem_deepest.noise.covariance import Covariance

Array = NDArray[np.float64]


class WhiteCovariance(Covariance):
    """``C = S = M^{-1}``: the L2 projection of white noise onto the space.

    Args:
        V: Function space.
        lumped: The row sums of ``M`` take its place, as in lumped white noise.

    Collective: see :class:`Covariance`.
    """

    def __init__(self, V: fem.FunctionSpace, *, lumped: bool = False) -> None:
        super().__init__(V)
        self.lumped = lumped
        if lumped:
            self._diagonal_mass = self.mass(np.ones((self.blocks.owned, 1)))

    def apply(self, r: Array) -> Array:
        """``M^{-1} r``."""
        return r / self._diagonal_mass if self.lumped else self.inverse_mass.solve(r)

    def apply_sqrt(self, b: Array) -> Array:
        """``M^{-1} b``."""
        return self.apply(b)

    def load(self, b: Array) -> Array:
        """``b`` itself."""
        return b

    def trace(self) -> float:
        """Dimension of the space unless lumped; it grows without bound when the mesh is refined."""
        return super().trace() if self.lumped else float(self.blocks.size)

    def beta(self, d: int | None = None) -> float:
        """``1 - d/2``; see :class:`Covariance`. Not collective."""
        return 1.0 - 0.5 * self.dimension(d)
