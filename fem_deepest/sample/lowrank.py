"""A precision with an update of low rank: the prior, and what the data say in some directions.

    P' = P + W diag(d) W^T,     W = P V,     V^T P V = 1,     d >= 0,

with the generalised eigenvectors ``H V = P V diag(d)`` of a curvature ``H`` of the misfit. The Gaussian
``N(m, P'^{-1})`` is equivalent to ``N(m, P^{-1})`` in function space, so that chains relative to it stay
independent of the mesh, and their steps are not shortened by the directions that the data determine
(T. Cui, K. Law, Y. Marzouk (2016), doi:10.1016/j.jcp.2015.10.008). Nothing here is collective.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]


class LowRankUpdate:
    """``P'`` of the module, on blocks (n, S); fulfils :class:`.Precision`.

    Args:
        prior: ``P``.
        vectors: ``V``, (n, r).
        values: ``d``, (r,).
    """

    def __init__(self, prior: Cholesky, vectors: Array, values: Array) -> None:
        self._prior, self._V, self._W = prior, vectors, prior.apply(vectors)
        self._values = values[:, None]

    def apply(self, x: Array) -> Array:
        """``P' x``."""
        return self._prior.apply(x) + self._W @ (self._values * (self._W.T @ x))

    def solve(self, r: Array) -> Array:
        """``P'^{-1} r``: Sherman, Morrison and Woodbury, with everything orthonormal."""
        share = self._values / (1.0 + self._values)
        return self._prior.solve(r) - self._V @ (share * (self._V.T @ r))

    def inverse_root(self, z: Array) -> Array:
        """A map of ``z`` with covariance ``P'^{-1}``: a draw of the prior, shrunk along ``V``."""
        x = self._prior.inverse_root(z)
        share = 1.0 - 1.0 / np.sqrt(1.0 + self._values)
        return x - self._V @ (share * (self._W.T @ x))
