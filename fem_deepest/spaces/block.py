"""Blocks: many functions of one space side by side, the columns of an array.

A *block* of a space ``V`` is an array (owned dofs, S), row-major: column ``s`` holds the coefficients
of sample ``s``, of the dofs that this rank owns. A block of a vector-valued space has a row for each
component, those of a node next to each other, as in DOLFINx. One function is a block of one column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import la
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Blocks:
    """The rows of the blocks of a space, and what ranks exchange about them.

    Args:
        V: Function space.

    Attributes:
        V: The space.
        bs: Components of a node.
        owned: Rows of a block: dofs of this rank.
        local: Owned and ghosted dofs.
        size: Dofs of all ranks.
        start: Number of the first owned dof among all.
    """

    def __init__(self, V: Any) -> None:
        self.V = V
        self._map, self.bs = V.dofmap.index_map, V.dofmap.index_map_bs
        self.owned: int = self._map.size_local * self.bs
        self.local: int = self.owned + self._map.num_ghosts * self.bs
        self.size: int = self._map.size_global * self.bs
        self.start: int = self._map.local_range[0] * self.bs
        self._alone = V.mesh.comm.size == 1
        self._vectors: dict[int, Any] = {}

    def zeros(self, samples: int = 1) -> Array:
        """A block of zeros, (owned, samples)."""
        return np.zeros((self.owned, samples))

    def ghosted(self, block: Array) -> Array:
        """The block with the rows of the ghosts behind its own, (local, S).

        On one rank it is the block itself, on several an array that the next exchange overwrites.

        Args:
            block: (owned, S).

        Raises:
            InputError: The block has not one row for each owned dof.

        Collective.
        """
        self._check(block, self.owned)
        if self._alone:
            return block
        vector = self._vector(block.shape[1])
        array = vector.array.reshape(self.local, -1)
        array[: self.owned] = block
        vector.scatter_forward()
        return array

    def accumulate(self, local: Array) -> Array:
        """Add the rows of the ghosts to their owners: ``ghosted`` transposed, (owned, S).

        Args:
            local: (local, S).

        Raises:
            InputError: The array has not one row for each local dof.

        Collective.
        """
        self._check(local, self.local)
        if self._alone:
            return local
        vector = self._vector(local.shape[1])
        array = vector.array.reshape(self.local, -1)
        array[...] = local
        vector.scatter_reverse(la.InsertMode.add)
        return array[: self.owned].copy()

    def of(self, function: Any) -> Array:
        """The coefficients of a function of the space, (owned, 1), a view."""
        return function.x.array[: self.owned].reshape(-1, 1)

    def assign(self, function: Any, block: Array, sample: int = 0) -> None:
        """Make a column of a block the coefficients of a function. Collective."""
        self._check(block, self.owned)
        function.x.array[: self.owned] = block[:, sample]
        function.x.scatter_forward()

    def _vector(self, samples: int) -> Any:
        if samples not in self._vectors:
            if len(self._vectors) == 2:  # a run has few widths: those of its chunks and the last
                del self._vectors[next(iter(self._vectors))]
            self._vectors[samples] = la.vector(self._map, self.bs * samples)
        return self._vectors[samples]

    def _check(self, array: Array, rows: int) -> None:
        if array.ndim != 2 or array.shape[0] != rows:
            raise InputError(
                f"a block of shape {array.shape} was given, expected ({rows}, samples): one row for "
                "each dof of this rank"
            )
