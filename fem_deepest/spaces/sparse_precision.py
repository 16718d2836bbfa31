"""The tensor-product H1 precision where one factor alone has a stiffness: sparse solves, O(N) numbers.

Then only that factor and depth are coupled,

    P = [ A (x) M + B (x) K ] (x) D,

``D`` the diagonal mass of the other factor. Eigenvectors of the factor would be a dense matrix; those of
depth are a small one, ``A Psi = B Psi diag(nu)`` with ``Psi^T B Psi = 1``, and leave one sparse elliptic
matrix for each, factorised once:

    P^{-1} = Psi (nu M + K)^{-1} Psi^T (x) D^{-1}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fem_deepest.spaces.cholesky import Cholesky
from fem_deepest.spaces.separable import SeparablePrecision

Array = NDArray[np.float64]


class SparsePrecision(SeparablePrecision):
    """``P`` of a field whose rows or columns have no stiffness and a lumped mass.

    Nothing here is collective.
    """

    def solve(self, r: Array, out: Array) -> None:
        """``out = P^{-1} r``."""
        if not self.mixed:
            super().solve(r, out)
        elif r.size:
            vectors, _ = self._systems
            x = np.asarray(np.tensordot(vectors.T, r, 1), dtype=np.float64)
            self._substitute_each(x, lambda system, r: system.solve(r), 1.0, out)

    def inverse_root(self, z: Array, out: Array) -> None:
        """``out = R z`` with ``R R^T = P^{-1}``: ``R = Psi L^{-T} (x) D^{-1/2}``, ``nu M + K = L L^T``."""
        if not self.mixed:
            super().inverse_root(z, out)
        elif z.size:
            self._substitute_each(z.copy(), Cholesky.inverse_root, 0.5, out)

    @cached_property
    def _systems(self) -> tuple[Array, list[Cholesky]]:
        """``Psi``, and ``nu M + K`` for each ``nu``."""
        values, vectors = linalg.eigh(*self._pencil())
        factor = self.rows if self.rows.has_stiffness else self.columns
        systems = [Cholesky(nu * factor.mass + factor.stiffness) for nu in values]
        return np.asarray(vectors), systems

    def _pencil(self) -> list[Array]:
        """``A`` and ``B``."""
        return [
            np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
            for diagonal, off in (self.depth, self._along)
        ]

    def _substitute_each(
        self, x: Array, operation: Callable[[Cholesky, Array], Array], power: float, out: Array
    ) -> None:
        """``Psi x`` after an operation with each matrix, in place, and a power of ``D^{-1}``."""
        vectors, systems = self._systems
        other, axis = (self.columns, -2) if self.rows.has_stiffness else (self.rows, -1)
        for k, system in enumerate(systems):
            first = np.moveaxis(x[k], axis, 0)
            image = operation(system, first.reshape(len(first), -1))
            first[...] = image.reshape(first.shape)
        weights = other.weights**power
        x /= weights if axis == -2 else weights[:, None]
        out[...] = np.tensordot(vectors, x, 1)
