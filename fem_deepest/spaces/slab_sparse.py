"""The precision of :mod:`.sparse_precision` of a field of which every rank has some nodes and some rows.

Eigenvectors in depth need all nodes of some entries: a transposition through the slabs gives them. They
leave one sparse elliptic matrix for each, factorised once, on the slab that has a node of its number.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from fem_deepest.spaces.cholesky import Cholesky
from fem_deepest.spaces.grid import deal
from fem_deepest.spaces.slab_precision import SlabPrecision
from fem_deepest.spaces.transposition import Transposition

Array = NDArray[np.float64]


class SlabSparsePrecision(SlabPrecision):
    """``P = [A (x) M + B (x) K] (x) D`` of a field whose rows or columns have no stiffness.

    ``D`` is the diagonal mass of the factor without one. Collective as :class:`.SlabPrecision`.
    """

    def solve(self, r: Array, out: Array) -> None:
        """``out = P^{-1} r``."""
        if not self.mixed:
            super().solve(r, out)
            return
        if self._idle(r):
            return
        vectors, _ = self._systems
        x = self._through_depth(vectors.T, self._forth(r))
        self._substitute_each(x, lambda system, right: system.solve(right), 1.0)
        self._back(self._through_depth(vectors, x), out)

    def inverse_root(self, z: Array, out: Array) -> None:
        """``out = R z``, the ``R`` of :class:`.SparsePrecision`: ``z`` has modes in depth."""
        if not self.mixed:
            super().inverse_root(z, out)
            return
        if self._idle(z):
            return
        x = self._forth(z)
        self._substitute_each(x, Cholesky.inverse_root, 0.5)
        self._back(self._through_depth(self._systems[0], x), out)

    def _back(self, x: Array, out: Array) -> None:
        """The field with some rows and all columns."""
        for part in self._batches():
            out[part] = self._turn.back(x[part])

    @cached_property
    def _systems(self) -> tuple[Array, list[Cholesky]]:
        """All ``Psi``, and ``nu M + K`` for the ``nu`` of the own nodes."""
        values, vectors = linalg.eigh(
            *(
                np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
                for diagonal, off in (self.depth, self._along)
            )
        )
        factor = self.rows if self.rows.has_stiffness else self.columns
        own = self.chain.own(values)
        return np.asarray(vectors), [Cholesky(nu * factor.mass + factor.stiffness) for nu in own]

    def _through_depth(self, matrix: Array, x: Array) -> Array:
        """A matrix (m, m) in depth."""
        chain = self.chain
        turn = Transposition(
            chain.comm, chain.edges, deal(x[0].size, chain.comm.size), self._turn.tally
        )
        whole = turn.forth(x.reshape(1, len(x), -1))
        return turn.back(np.matmul(matrix, whole)).reshape(x.shape)

    def _substitute_each(
        self, x: Array, operation: Callable[[Cholesky, Array], Array], power: float
    ) -> None:
        """An operation with the matrix of each own number, and a power of ``D^{-1}``, in place."""
        if not x.size:
            return
        on_rows = self.rows.has_stiffness
        for k, system in enumerate(self._systems[1]):
            first = np.moveaxis(x[k], 0 if on_rows else 1, 0)
            image = operation(system, first.reshape(len(first), -1))
            first[...] = image.reshape(first.shape)
        if on_rows:
            x /= self.columns.weights[self._turn.columns] ** power
        else:
            x /= self._weights**power
