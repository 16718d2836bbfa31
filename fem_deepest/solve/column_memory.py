"""Limited-memory inverse Hessians of many columns, each with its own pairs.

The memory of column ``s`` is the inverse BFGS matrix of its last pairs ``(u' - u, g' - g)`` over the
scaled Riesz map ``gamma C``, applied by the two-loop recursion (Nocedal 1980,
doi:10.1090/S0025-5718-1980-0572855-7).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]

_CURVATURE = 1e-10  # least curvature of a pair against that of the newest one


class Riesz(Protocol):
    """What a memory needs of a landscape."""

    def solve(self, R: Array) -> Array:
        """``C R``, a primal block."""

    def inner(self, a: Array, b: Array) -> Array:
        """``<a_s, b_s>`` for all columns, the same on every rank."""


class ColumnMemory:
    """Pairs of many columns, (memory, S, n); a column that has none yet has the Riesz map.

    The entries of a column lie together: the pairs of some columns are taken out in every step.

    Args:
        space: Riesz map and inner product.
        shape: (n, S) of the blocks; n may be the rows of one rank.
        memory: Pairs of each column.

    Collective on the space: every method that is given blocks.
    """

    def __init__(self, space: Riesz, shape: tuple[int, int], memory: int) -> None:
        self._space, self._memory = space, memory
        self._s: Array = np.zeros((memory, *shape[::-1]))
        self._y: Array = np.zeros((memory, *shape[::-1]))
        self._rho: Array = np.zeros((memory, shape[1]))  # 1/<s, y>; 0: no pair
        self._next: Index = np.zeros(shape[1], dtype=np.int64)
        self._gamma: Array = np.ones(shape[1])

    def empty(self, columns: Index) -> Flags:
        """Whether columns have no pair. Not collective."""
        return np.asarray(np.all(self._rho[:, columns] == 0.0, axis=0))

    def clear(self, columns: Index) -> None:
        """Forget the pairs of some columns. Not collective."""
        self._rho[:, columns], self._gamma[columns] = 0.0, 1.0

    def keep(self, columns: Index) -> None:
        """Forget all but some columns, which are numbered anew. Not collective."""
        self._s, self._y = self._s[:, columns], self._y[:, columns]
        self._rho, self._next = self._rho[:, columns], self._next[columns]
        self._gamma = self._gamma[columns]

    def add(self, columns: Index, s: Array, y: Array) -> None:
        """A new pair of some columns; those whose curvature is not positive are left out."""
        curvature = self._space.inner(s, y)
        images = self._space.solve(y)
        lengths = self._space.inner(y, images)
        good = curvature > _CURVATURE * self._gamma[columns] * lengths
        columns, curvature, lengths = columns[good], curvature[good], lengths[good]
        slots = self._next[columns]
        self._s[slots, columns] = s[:, good].T
        self._y[slots, columns] = y[:, good].T
        self._rho[slots, columns] = 1.0 / curvature
        self._next[columns] = (slots + 1) % self._memory
        self._gamma[columns] = curvature / lengths

    def apply(self, columns: Index, g: Array) -> Array:
        """The inverse Hessians of some columns times a dual block."""
        q, weights, space = np.array(g.T), [], self._space
        newest = self._next[columns] - 1
        slots = [(newest - back) % self._memory for back in range(self._memory)]
        pairs = [
            (self._s[slot, columns], self._y[slot, columns], self._rho[slot, columns])
            for slot in slots
            if self._rho[slot, columns].any()
        ]
        for s, y, rho in pairs:
            weights.append(rho * space.inner(s.T, q.T))
            q -= weights[-1][:, None] * y
        d = np.ascontiguousarray((self._gamma[columns] * space.solve(np.ascontiguousarray(q.T))).T)
        for (s, y, rho), weight in zip(reversed(pairs), reversed(weights), strict=True):
            d += (weight - rho * space.inner(y.T, d.T))[:, None] * s
        return np.ascontiguousarray(d.T)
